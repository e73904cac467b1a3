// What an OAuth library of npm does: openid-client, and oauth4webapi within it.
import assert from 'node:assert/strict'
import { webcrypto } from 'node:crypto'

// Node 18 has it, but not yet in this place.
globalThis.crypto ??= webcrypto
const client = await import('openid-client')

const { ISSUER, CLIENT_ID, CLIENT_SECRET } = process.env
const onLoopback = { algorithm: 'oauth2', execute: [client.allowInsecureRequests] }
const ways = [client.ClientSecretBasic, client.ClientSecretPost]

for (const way of ways) {
  const config = await client.discovery(
    new URL(ISSUER), CLIENT_ID, undefined, way(CLIENT_SECRET), onLoopback)
  assert.equal(config.serverMetadata().issuer, ISSUER)
  assert.deepEqual(config.serverMetadata().grant_types_supported, ['client_credentials'])

  const tokens = await client.clientCredentialsGrant(config, { scope: 'employees' })
  assert.equal(tokens.token_type, 'bearer')
  assert.equal(tokens.scope, 'employees')
  assert.equal(tokens.expires_in, 604800)
  const token = tokens.access_token

  const used = await client.fetchProtectedResource(
    config, token, new URL(`${ISSUER}/v1/verify?scope=employees`), 'GET')
  assert.equal(used.status, 200)
  assert.equal(used.headers.get('x-scopes'), 'employees')
  await assert.rejects(
    client.fetchProtectedResource(
      config, token, new URL(`${ISSUER}/v1/verify?scope=positions`), 'GET'),
    (error) => error.status === 403 && challenge(error) === 'insufficient_scope')

  const found = await client.tokenIntrospection(config, token)
  assert.equal(found.active, true)
  assert.equal(found.client_id, CLIENT_ID)
  assert.equal(found.scope, 'employees')

  await client.tokenRevocation(config, token)
  assert.deepEqual(await client.tokenIntrospection(config, token), { active: false })
  await assert.rejects(
    client.fetchProtectedResource(config, token, new URL(`${ISSUER}/v1/verify`), 'GET'),
    (error) => error.status === 401 && challenge(error) === 'invalid_token')

  await assert.rejects(
    client.clientCredentialsGrant(config, { scope: 'locations' }),
    (error) => error.error === 'invalid_scope')
}

const stranger = await client.discovery(
  new URL(ISSUER), CLIENT_ID, undefined, client.ClientSecretPost('wrong'), onLoopback)
await assert.rejects(
  client.clientCredentialsGrant(stranger),
  (error) => error.status === 401 && error.cause[0].scheme === 'basic')

function challenge(error) {
  return error.cause?.[0]?.parameters.error
}

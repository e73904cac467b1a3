//! Words and shapes that requests have in common, as the description of the API names them. What
//! each may be is filled in by [`super::described`]; reading them is the application's and the
//! domain's.

#![expect(dead_code, reason = "documents what is read without it")]

use utoipa::ToSchema;

/// A data access on offer; `GET /v1/scopes` says what each opens.
#[derive(ToSchema)]
pub(super) struct ScopeName(String);

/// A scope of API keys; `ledger.operator` is for keys of the platform.
#[derive(ToSchema)]
pub(super) struct KeyScopeName(String);

/// What kind of event.
#[derive(ToSchema)]
pub(super) struct EventType(String);

/// A role; `operator` is for members of the platform.
#[derive(ToSchema)]
pub(super) struct RoleName(String);

/// What has become of a token: whether its term runs, has ended, or it was deleted. While the company's
/// OAuth App module is off, no token works, whatever its status.
#[derive(ToSchema)]
pub(super) struct TokenStatus(String);

/// Whether a client can be used.
#[derive(ToSchema)]
pub(super) struct ClientStatus(String);

/// The order of a list of tokens, with `-` in front for descending.
#[derive(ToSchema)]
pub(super) struct TokenOrder(String);

/// What an export is written as.
#[derive(ToSchema)]
pub(super) struct ExportFormat(String);

/// The one grant type.
#[derive(ToSchema)]
pub(super) struct GrantType(String);

/// The one grant type, or nothing.
#[derive(ToSchema)]
pub(super) struct OptionalGrantType(String);

/// A name: something to see, and no control characters.
#[derive(ToSchema)]
pub(super) struct NameText(String);

/// A token's name, or nothing.
#[derive(ToSchema)]
pub(super) struct OptionalName(String);

/// Why, for the audit trail: no control characters but line breaks and tabs, and
/// none that turns the direction of text.
#[derive(ToSchema)]
pub(super) struct Reason(String);

/// Why, for the audit trail, and not nothing: no control characters but line breaks and tabs, and
/// none that turns the direction of text.
#[derive(ToSchema)]
pub(super) struct RequiredReason(String);

/// An e-mail address.
#[derive(ToSchema)]
pub(super) struct EmailAddress(String);

/// A scope as RFC 6749 §3.3 has it, on offer or not.
#[derive(ToSchema)]
pub(super) struct AnyScope(String);

//! A part of the secrets: a table of digests that leads to slots.

use hashbrown::HashTable;
use std::sync::atomic::{AtomicU32, Ordering};
use token_ledger_domain::Digest;

/// Bits of a reference that name the slot within its shard.
pub(super) const SLOT_BITS: u32 = 26;
/// The part of a reference that names the slot within its shard.
pub(super) const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;
/// A shard grows by this fraction at a time: memory matters more than the copying.
const GROWTH: usize = 8;

/// One secret of a token: 80 bytes, since there may be millions.
pub(super) struct Slot {
    pub(super) digest: [u8; 32],
    pub(super) token_id: [u8; 16],
    pub(super) expires_at: i64,
    pub(super) issued_at: u32,
    pub(super) company: u32,
    pub(super) scopes: u32,
    pub(super) client: u32,
    pub(super) version: u32,
    pub(super) last_used: AtomicU32,
}

#[derive(Default)]
pub(super) struct Shard {
    pub(super) by_digest: HashTable<u32>,
    pub(super) slots: Vec<Slot>,
    free: Vec<u32>,
}

/// A digest is as good as random, so a part of it is its hash.
pub(super) fn hash_of(digest: &Digest) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.0[8..16]);
    u64::from_le_bytes(bytes)
}

fn hash_of_slot(slots: &[Slot], place: u32) -> u64 {
    slots.get(place as usize).map_or(0, |slot| hash_of(&Digest(slot.digest)))
}

impl Shard {
    /// Makes room for so many more secrets.
    pub(super) fn reserve(&mut self, secrets: usize) {
        let Self { by_digest, slots, free } = self;
        slots.reserve_exact(secrets.saturating_sub(free.len()));
        by_digest.reserve(secrets, |place| hash_of_slot(slots, *place));
    }

    /// Puts a secret into its slot, a new one where it has none; answers the place and whether it
    /// is new.
    pub(super) fn put(&mut self, slot: Slot, number: usize) -> (u32, bool) {
        let digest = Digest(slot.digest);
        let shard = u32::try_from(number).unwrap_or(0) << SLOT_BITS;
        let slots = &mut self.slots;
        let known = self.by_digest.find(hash_of(&digest), |place| {
            slots.get(*place as usize).is_some_and(|known| known.digest == digest.0)
        });
        if let Some(place) = known {
            if let Some(known) = slots.get_mut(*place as usize)
                && known.version <= slot.version
            {
                let last_used = known.last_used.load(Ordering::Relaxed);
                *known = Slot { last_used: AtomicU32::new(last_used), ..slot };
            }
            return (shard | *place, false);
        }
        let place = if let Some(place) = self.free.pop() {
            slots[place as usize] = slot;
            place
        } else {
            if slots.len() == slots.capacity() {
                slots.reserve_exact(slots.len() / GROWTH + 16);
            }
            slots.push(slot);
            u32::try_from(slots.len() - 1).unwrap_or(SLOT_MASK)
        };
        self.by_digest.insert_unique(hash_of(&digest), place, |place| hash_of_slot(slots, *place));
        (shard | place, true)
    }

    /// The slot of a secret.
    pub(super) fn slot(&self, digest: &Digest) -> Option<&Slot> {
        let same = |place: &u32| {
            self.slots.get(*place as usize).is_some_and(|slot| slot.digest == digest.0)
        };
        let place = self.by_digest.find(hash_of(digest), same)?;
        self.slots.get(*place as usize)
    }

    /// Empties a slot.
    pub(super) fn take(&mut self, place: u32) {
        let Some(slot) = self.slots.get(place as usize) else { return };
        let hash = hash_of(&Digest(slot.digest));
        if let Ok(entry) = self.by_digest.find_entry(hash, |other| *other == place) {
            entry.remove();
            self.free.push(place);
        }
    }
}

//! What use cases answer.

use token_ledger_domain::Secret;

/// What a change led to.
#[derive(Debug)]
pub struct Changed<V> {
    /// The thing after it.
    pub view: V,
    /// The new secret, where the change made one.
    pub secret: Option<Secret>,
    /// Whether the same request was carried out before, so that nothing happened now.
    pub repeated: bool,
}

impl<V> Changed<V> {
    /// A change that made no secret.
    pub const fn done(view: V) -> Self {
        Self { view, secret: None, repeated: false }
    }

    /// What an earlier request led to.
    pub const fn before(view: V) -> Self {
        Self { view, secret: None, repeated: true }
    }
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Listed<V, A> {
    /// The things.
    pub items: Vec<V>,
    /// Behind what the next page goes on; none at the end.
    pub next: Option<A>,
}

impl<V, A> Listed<V, A> {
    /// The first `limit` of the rows: one more was asked for than is shown, so that the end is
    /// known.
    pub fn cut<R>(
        mut rows: Vec<R>,
        limit: usize,
        place: impl FnOnce(&R) -> A,
        view: impl FnMut(R) -> V,
    ) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(place);
        Self { items: rows.into_iter().map(view).collect(), next }
    }
}

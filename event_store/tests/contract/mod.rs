//! What every store promises, written once and run against each database.
//!
//! To add a database: write `tests/<database>.rs` with a [`Fixture`] and one line,
//! `every_promise!(TheFixture);`. A promise that is missing from the list below is dead code, so
//! the compiler asks for it.

pub mod atomicity;
pub mod bulk;
pub mod evidence;
pub mod framework;
pub mod given;
pub mod idempotency;
pub mod order;
pub mod rules;

use cqrs_es::persist::PersistedEventRepository;
use std::sync::Arc;
use token_ledger_domain::token::TokenEvent;
use token_ledger_domain::{CompanyId, LedgerEvent};
use token_ledger_event_store::{Clock, Context, Store, StoreError};

/// A token of this name can't be created: the database refuses the statement that inserts it.
pub const REFUSED_BY_STATEMENT: &str = "refused by a statement";
/// A token of this name can't be created: whatever is written with the events fails.
pub const REFUSED_BY_PROJECTION: &str = "refused by a projection";
/// A token of this name can't be created: whatever is written with the events panics.
pub const PANICS_IN_PROJECTION: &str = "panics in a projection";

/// What the projections of these tests say to events: they refuse one name, and panic at another.
///
/// # Errors
/// [`REFUSED_BY_PROJECTION`].
pub fn refuse<'a>(events: impl Iterator<Item = &'a LedgerEvent>) -> Result<(), StoreError> {
    for event in events {
        let LedgerEvent::Token(TokenEvent::Created { name, .. }) = event else { continue };
        assert_ne!(name.as_str(), PANICS_IN_PROJECTION, "as it was asked to");
        if name.as_str() == REFUSED_BY_PROJECTION {
            return Err(StoreError::Rejected("refused".to_owned()));
        }
    }
    Ok(())
}

/// A store on a database of its own, which is gone when this is dropped.
pub trait Fixture: Sized {
    /// cqrs-es's own interface to a ledger of this store.
    type Repository: PersistedEventRepository + 'static;

    /// A store without ledgers, which refuses what it is told to by the names above.
    async fn fresh() -> Self;

    /// The store, the same one each time.
    fn store(&self) -> Arc<dyn Store>;

    /// Ends the store in good order and opens it again. Nobody else may hold it.
    async fn reopened(self) -> Self;

    /// What would be left if everything ended at this moment, opened. The store itself goes on.
    async fn crashed(&self) -> Self;

    /// Runs SQL that the store doesn't know of, with the rights that the store has.
    ///
    /// # Errors
    /// What the database says.
    async fn raw(&self, sql: &str) -> Result<(), String>;

    /// The repository of this company.
    fn repository(
        &self,
        company: CompanyId,
        clock: Arc<dyn Clock>,
        context: Context,
    ) -> Self::Repository;
}

/// Makes a test of every promise, for this fixture. A test that waits for what never comes fails.
macro_rules! every_promise {
    ($fixture:ty) => {
        every_promise! { $fixture:
            order {
                positions_and_sequences_have_no_gaps_under_many_writers,
                a_follower_sees_every_event_once_and_in_order,
                pages_follow_each_other_without_gap_or_overlap,
                position_at_is_exact_to_the_microsecond,
                recorded_time_never_goes_back,
                no_term_is_over_when_its_beginning_is_recorded,
                a_term_that_is_over_when_a_change_is_recorded_ends_before_it,
                what_is_decided_anew_needs_somebody_who_still_may,
                a_clock_that_is_far_behind_stops_writing,
            }
            atomicity {
                a_conflict_fails_only_its_caller,
                a_commit_that_the_database_refuses_fails_only_its_caller,
                callers_that_meet_in_a_batch_get_their_own_answers,
                a_refused_commit_leaves_nothing,
                a_crash_leaves_whole_commits_and_all_that_was_acknowledged,
                a_retry_after_a_lost_answer_is_recognised,
                another_commit_at_the_same_sequence_is_a_conflict,
            }
            rules {
                no_token_is_created_after_the_module_was_turned_off,
                no_token_stands_against_a_policy_that_came_before_it,
                no_refusal_rests_on_what_the_company_was,
                a_command_for_another_version_is_not_carried_out,
                of_changes_at_once_none_is_lost,
                of_changes_at_once_to_one_version_one_is_done,
                nothing_happens_in_a_company_that_there_is_not,
            }
            idempotency {
                a_repeat_is_answered_and_another_request_is_told_apart,
                of_many_repeats_at_once_one_is_done,
                of_repeats_of_a_change_at_once_none_is_refused,
                a_key_is_forgotten_after_a_day,
                an_old_key_is_removed_though_no_newer_one_comes,
                a_refused_command_leaves_its_key_free,
                a_command_that_changes_nothing_is_remembered_too,
                a_key_for_something_that_is_not_in_the_ledger_changes_nothing_there,
            }
            bulk {
                many_commands_are_answered_in_order_and_each_for_itself,
                more_commands_than_one_batch_holds_are_all_carried_out,
                commands_for_one_stream_are_all_carried_out_in_order,
                a_long_stream_folds_the_same_with_and_without_its_snapshot,
                a_snapshot_that_cannot_be_read_is_named,
            }
            evidence {
                text_survives_exactly,
                a_term_that_is_over_is_ended_by_the_service_itself,
                hashes_follow_from_what_is_stored,
                events_are_neither_changed_nor_deleted,
                an_erased_private_part_leaves_the_evidence_whole,
            }
            framework {
                the_framework_and_the_ledger_work_on_the_same_streams,
                the_framework_notices_that_somebody_was_faster,
                a_snapshot_of_the_framework_loses_no_event,
                a_replay_sees_every_event_in_the_ledgers_order,
            }
        }
    };
    ($fixture:ty: $($topic:ident { $($promise:ident,)* })*) => {$(
        mod $topic {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $promise() {
                    let promise = async {
                        let fixture = <$fixture as contract::Fixture>::fresh().await;
                        contract::$topic::$promise(fixture).await;
                    };
                    contract::given::in_time(promise).await;
                }
            )*
        }
    )*};
}

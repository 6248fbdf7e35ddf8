//! The lists of cases, each in one place: the suite's own dispatch and an adapter's tests are made from them, so that a case
//! that is not listed is dead code and a case that is listed is run.

/// Calls `$then! { [$with] module { case, … } … }` with every case of the store's suite.
#[doc(hidden)]
#[macro_export]
macro_rules! each_store_case {
    ([$($then:tt)*] $($with:tt)*) => {
        $($then)* ! {
            [$($with)*]
            steps {
                claim,
                forced_claim,
                commit,
                release,
                unknown,
                handoff,
                flag,
                seen,
                sleep,
                reseal,
                revocation,
                hold,
                an_absent_row,
            }
            races {
                one_claim_wins,
                one_commit_wins,
                a_read_beats_sleep,
                a_login_is_taken_once,
                a_state_is_used_once,
                a_branch_key_is_added_once,
                one_probe_gets_through,
                an_account_is_linked_to_one_person,
                a_row_is_replaced_once,
                first_logins_make_one_person,
                forced_refreshes_are_counted,
            }
            links {
                a_first_login_writes_connection_person_and_identity,
                a_login_replaces_the_version_it_read,
                a_login_that_read_something_else_is_contended,
                a_repeated_login_changes_nothing_that_came_after_it,
                an_account_in_use_is_contended,
                a_login_with_ones_own_account_keeps_the_identity,
                a_replacement_releases_the_account_before,
                a_release_never_takes_anothers_identity,
                a_person_is_written_only_when_absent,
                a_move_writes_both_sides,
                a_move_is_contended_whole,
                a_disconnect_writes_the_tombstone_and_frees_the_account,
                a_disconnect_that_read_something_else_is_contended,
                a_disconnect_takes_only_ones_own_identity,
                nothing_revives_a_tombstone,
                an_impossible_row_is_refused,
            }
            people {
                a_person_is_read_whole_and_in_order,
                an_eventual_read_is_late_but_invents_nothing,
                a_session_ends,
                every_session_ends,
                nobody_has_no_session_to_end,
                forced_refreshes_are_counted_by_pair_and_minute,
                the_limit_says_when_it_ends,
                a_person_is_forgotten,
                who_is_connected_is_not_forgotten,
            }
            wheel {
                only_who_sits_there_is_found,
                a_seat_follows_every_step,
                a_disconnect_leaves_its_seat,
                a_crowd_is_read_page_by_page,
                an_empty_wheel_passes,
            }
            logins {
                a_login_comes_back_whole,
                an_unknown_state_is_nobodys,
                a_used_state_is_refused,
                an_expired_login_is_gone,
            }
            rows {
                the_tick_only_grows,
                ticks_at_once_end_at_the_latest,
                a_circuit_is_swapped_only_for_what_it_is,
                branch_keys_are_listed_the_oldest_first,
            }
            changes {
                nothing_is_told_of_an_empty_table,
                each_mark_is_told_once_and_in_order,
                everything_owed_is_told_the_oldest_first,
                an_unmarked_write_tells_nothing,
                a_standing_mark_is_not_told_again,
                a_mark_set_again_is_told_again,
                a_cursor_goes_on_where_it_was,
                many_changes_lose_nothing_and_keep_their_rows_order,
            }
            purge {
                a_tombstone_goes_when_its_time_is_over,
                nothing_else_ever_goes,
                an_expired_login_goes,
            }
            values {
                large_tokens_come_back_whole,
                empty_and_binary_tokens_come_back_whole,
                odd_accounts_are_each_their_own,
                odd_people_are_each_their_own,
                a_bare_row_comes_back_bare,
                a_full_row_comes_back_full,
                every_word_survives_its_column,
                tokens_of_one_provider_stay_there,
            }
            differential {
                random_sequences_match_the_model,
            }
        }
    };
}

/// The same for the queue's suite.
#[doc(hidden)]
#[macro_export]
macro_rules! each_queue_case {
    ([$($then:tt)*] $($with:tt)*) => {
        $($then)* ! {
            [$($with)*]
            nudges {
                a_nudge_arrives_whole,
                the_lanes_are_apart,
                no_nudges_are_no_message,
                many_nudges_all_arrive_with_their_identities,
                a_nudge_waits_for_its_delay,
                a_long_delay_is_capped,
                what_is_not_deleted_comes_again,
                an_outdated_receipt_deletes_nothing_newer,
            }
            lane {
                a_message_arrives_whole,
                one_connections_messages_come_in_order,
                the_next_waits_until_the_one_before_is_deleted,
                what_is_not_deleted_comes_again_and_before_what_is_behind_it,
                connections_do_not_wait_for_each_other,
                a_deduplication_id_is_accepted_once_in_five_minutes,
                the_same_content_under_another_id_is_another_message,
                many_connections_all_arrive_each_in_order,
                what_was_accepted_survives_the_process,
            }
        }
    };
}

/// The same for the key service's suite.
#[doc(hidden)]
#[macro_export]
macro_rules! each_key_case {
    ([$($then:tt)*] $($with:tt)*) => {
        $($then)* ! {
            [$($with)*]
            keys {
                a_key_comes_back,
                a_wrapped_key_shows_nothing_of_the_key,
                another_context_is_refused,
                a_touched_key_is_refused,
            }
        }
    };
}

/// One test per case: what the `…_conformance!` macros make of the lists.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ([$run:ident $fresh:ident] $($module:ident { $($case:ident),* $(,)? })*) => {
        $(mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() -> Result<(), $crate::conformance::CaseError> {
                    let name = concat!(stringify!($module), "::", stringify!($case));
                    $crate::conformance::$run(name, super::$fresh().await).await
                }
            )*
        })*
    };
}

/// Makes one test of every case of the store's suite. `$fresh` names an `async fn() -> StoreSubject` of the module it is
/// called in; the tests stand in submodules by subject.
#[macro_export]
macro_rules! store_conformance {
    ($fresh:ident) => {
        $crate::each_store_case! { [$crate::conformance_tests] store_case $fresh }
    };
}

/// Makes one test of every case of the queue's suite. `$fresh` names an `async fn() -> QueueSubject`.
#[macro_export]
macro_rules! queue_conformance {
    ($fresh:ident) => {
        $crate::each_queue_case! { [$crate::conformance_tests] queue_case $fresh }
    };
}

/// Makes one test of every case of the key service's suite. `$fresh` names an `async fn() -> KeySubject`.
#[macro_export]
macro_rules! key_conformance {
    ($fresh:ident) => {
        $crate::each_key_case! { [$crate::conformance_tests] key_case $fresh }
    };
}

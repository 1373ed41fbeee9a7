//! The conformance suite for [`Capture`], [`Changes`] and an [`Apply`] by versions: what every engine must do.
//!
//! Each claim is one function over a [`Fixture`](super::Fixture); [`capture_suite!`](crate::capture_suite) makes a test
//! of each. Servers are [`TestServer`]s, which pass [`CarriedBackup`]s from hand to hand; each pack and each apply is
//! checked for what holds of all of them.
//!
//! | module | claims about |
//! |---|---|
//! | `attaching` | capture as it is installed, looked at, mended, and taken out |
//! | `noting` | what counts as a change, and in what it travels |
//! | `keys` | keys of every kind |
//! | `packing` | positions: what one pack brings, to whom, and who waits |
//! | `deciding` | old rows, conflicts, two bases |
//! | `forgetting` | tombstones, and full backups once they are gone |
//! | `echoing` | what an apply leaves behind to be sent |
//! | `holding` | rows that cannot go in |
//! | `skewing` | tables that are not the same on both sides |
//! | `meeting` | an apply that meets the shop at work on the same rows |
//! | `mending` | changes that nobody noted |
//! | `filtering` | rows that filters keep back: which travel, leave, and come back |
//! | `following` | rows that stay behind, leave and come with the rows that they point at |
//! | `crossing` | filters, where backups cross |
//! | `living` | new lives, and servers whose changes nobody captures |
//!
//! [`Capture`]: branchline_core::ports::Capture
//! [`Changes`]: branchline_core::ports::Changes
//! [`Apply`]: branchline_core::ports::Apply

pub mod attaching;
mod carried;
pub mod crossing;
pub mod deciding;
pub mod echoing;
pub mod filtering;
pub mod following;
pub mod forgetting;
pub mod holding;
pub mod keys;
pub mod living;
pub mod meeting;
pub mod mending;
pub mod noting;
pub mod packing;
mod server;
pub mod skewing;

pub use carried::{CarriedBackup, CarriedRow};
pub use filtering::{assert_scope_is_same, difference, filter};
pub use server::{TestServer, answer, assert_quiet, assert_same, deliver, pair, send, settle};

/// Makes a test of each claim. `$fixture` names a function that answers a [`Fixture`](crate::database::Fixture).
#[macro_export]
macro_rules! capture_suite {
    ($fixture:path) => {
        $crate::capture_suite!(@module $fixture; attaching;
            detach_leaves_what_was_before_attach
            a_detached_database_is_attached_again
            attach_says_what_it_captures
            attach_a_second_time_changes_nothing
            another_server_cannot_attach
            tables_that_are_left_out_are_not_captured
            a_table_without_a_key_is_not_captured
            has_changes_says_whether_anything_waits_for_a_pack
            a_role_without_rights_on_the_ledger_writes_as_before
            a_rebuilt_table_is_noticed_at_the_pack
            a_rebuilt_table_is_mended_by_attach
            a_new_table_is_taken_in_with_its_rows
            a_dropped_table_is_forgotten
            a_new_column_travels
        );
        $crate::capture_suite!(@module $fixture; noting;
            what_was_before_attach_is_the_base
            an_insert_travels
            an_update_travels
            a_delete_travels
            a_changed_key_travels_as_two_rows
            keys_that_move_up_travel
            a_freed_unique_value_travels
            bulk_statements_travel
            an_emptied_table_travels
            a_row_that_changed_many_times_travels_once
            an_update_without_effect_does_not_travel
            a_change_that_was_rolled_back_does_not_travel
            cascaded_deletes_travel
            cascaded_updates_travel
            changes_under_odd_names_travel
            names_that_a_trigger_uses_are_only_names
            cycles_and_self_references_travel
            computed_columns_and_swapped_values_travel
        );
        $crate::capture_suite!(@module $fixture; keys;
            keys_of_every_kind_travel
        );
        $crate::capture_suite!(@module $fixture; packing;
            a_late_commit_goes_with_the_next_pack
            transactions_that_overlap_travel_whole
            a_pack_never_has_half_a_transaction
            a_pack_holds_up_nobody
            nobody_holds_up_a_pack
            a_position_does_not_see_later_changes
            a_position_does_not_see_that_a_table_is_emptied
            two_packs_at_once_stamp_a_change_once
            a_first_full_and_its_increments_leave_no_gap
            each_peer_gets_what_it_lacks
            who_does_not_relay_sends_its_own_rows_alone
            a_relay_passes_on_what_others_made
            a_ring_of_relays_settles
        );
        $crate::capture_suite!(@module $fixture; deciding;
            of_two_updates_the_newest_wins_on_both_sides
            a_later_update_wins_over_a_delete
            a_later_delete_wins_over_an_update
            of_two_inserts_the_newest_wins
            two_equal_changes_are_no_conflict
            a_change_on_top_of_another_is_no_conflict
            a_change_is_later_than_what_it_was_made_on
            a_row_that_was_known_before_is_old
            rows_that_both_had_before_converge
            a_change_outranks_the_base
        );
        $crate::capture_suite!(@module $fixture; forgetting;
            an_old_backup_resurrects_nothing
            a_deletion_that_comes_before_its_row_stops_it
            tombstones_go_by_amendment_alone
            a_peer_behind_the_horizon_gets_everything
            absence_from_a_filtered_table_says_nothing
            a_removal_that_a_child_prevents_counts_as_new
            a_row_that_a_forgotten_deletion_may_be_about_counts_as_new
        );
        $crate::capture_suite!(@module $fixture; echoing;
            an_empty_target_adopts_the_base
            two_bases_in_one_table_are_told_apart
            what_a_backup_brought_is_not_sent_back
            what_an_apply_cascades_to_travels
            what_a_trigger_writes_elsewhere_travels
            what_a_trigger_does_to_the_rows_of_a_backup_stays
            a_waiting_change_outlasts_an_apply
            an_aborted_apply_leaves_capture_as_it_was
        );
        $crate::capture_suite!(@module $fixture; holding;
            a_row_without_its_parent_is_held_until_it_comes
            what_is_held_is_passed_on_once_it_went_in
            what_hangs_on_a_held_row_is_held
            a_newer_version_replaces_a_held_one
            a_held_row_that_a_full_backup_lacks_was_deleted
            a_row_whose_parent_was_deleted_here_is_held
            a_unique_clash_is_held
            rows_that_a_trigger_refuses_are_held
            rows_that_a_partial_key_refuses_are_held
            a_deletion_that_a_child_prevents_is_held
            a_deletion_that_would_take_unknown_rows_along_is_held
            a_row_with_a_column_that_is_missing_here_is_held
            rejecting_leaves_nothing
        );
        $crate::capture_suite!(@module $fixture; skewing;
            a_column_that_is_missing_here_holds_the_rows_that_have_it
            columns_that_are_here_alone_keep_what_they_hold
            both_sides_hold_what_they_lack
            a_column_that_is_needed_here_holds_its_table
            a_retyped_column_holds_its_table
            a_renamed_column_holds_its_table
            another_key_holds_its_table
            a_table_that_is_unknown_here_is_held_until_it_is_made
            a_base_is_held_where_its_table_is_unknown
            deletions_of_a_table_that_does_not_fit_are_held
            of_many_changes_of_a_row_the_last_is_held
            two_sources_meet_in_a_table_that_does_not_fit
            a_full_backup_holds_nothing_that_came_before
            what_a_full_backup_lacks_is_held_no_more
            a_held_row_is_replaced_once_its_table_fits_again
            a_table_that_is_left_out_here_is_held
            what_cannot_be_held_is_refused
        );
        $crate::capture_suite!(@module $fixture; meeting;
            a_change_that_is_made_while_rows_are_staged_is_seen
            a_change_that_waits_for_an_apply_is_made_on_top_of_it
            a_writer_is_never_the_victim_of_an_apply
        );
        $crate::capture_suite!(@module $fixture; mending;
            what_was_not_noted_travels_once_it_counts_as_changed
            a_row_is_found_by_a_key_of_several_columns
        );
        $crate::capture_suite!(@module $fixture; filtering;
            a_row_that_changes_comes_into_scope_and_leaves_it
            a_target_passes_on_nothing_of_a_row_that_left
            of_a_row_that_was_never_sent_nothing_travels
            a_condition_that_is_null_keeps_a_row_back
            what_the_target_changed_meanwhile_stays_and_travels_back
            what_the_target_made_leaves_and_goes_like_any_other
            a_filtered_full_backup_removes_nothing
            a_backup_that_was_dropped_loses_nothing
            a_changed_filter_brings_and_takes_out_what_it_must
            a_filter_that_comes_later_takes_out_what_it_keeps_back
            that_rows_are_kept_back_is_told_before_any_is
            a_condition_that_cannot_be_asked_is_refused
            a_condition_cannot_break_out
            a_compare_within_the_scope_finds_what_is_shared_equal
        );
        $crate::capture_suite!(@module $fixture; following;
            children_leave_and_come_with_their_parents
            a_child_that_changes_its_parent_moves_in_and_out
            a_condition_of_a_child_holds_besides_its_parents
            what_the_target_made_comes_back_with_its_parent
            what_others_made_does_not_follow_a_parent
            a_row_that_unknown_rows_hang_on_does_not_leave
            what_is_not_followed_is_not_taken_along
            what_is_held_of_a_row_goes_when_it_leaves
            what_comes_back_before_it_could_leave_stays
        );
        $crate::capture_suite!(@module $fixture; crossing;
            a_row_that_outlives_a_deletion_stays_on_record
            equal_changes_that_take_a_row_out_leave_it_on_record
            what_comes_before_a_position_is_read_is_not_forgotten
            two_rows_of_one_key_that_cross_are_both_on_record
            after_a_restore_all_of_the_scope_goes_once_more
            what_left_here_is_not_taken_out_where_it_still_is
        );
        $crate::capture_suite!(@module $fixture; living;
            a_change_that_the_life_before_packed_is_not_doubled
            a_restored_database_gets_back_what_it_lost
            a_target_without_capture_applies_increments
            rows_of_a_source_without_capture_are_changes_made_here
            a_plain_copy_into_an_attached_database_travels
        );
    };
    (@module $fixture:path; $module:ident; $($claim:ident)+) => {
        mod $module {
            $(
                #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    let fixture = $fixture();
                    $crate::database::capturing::$module::$claim(&fixture).await;
                }
            )+
        }
    };
}

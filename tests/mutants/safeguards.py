"""The safeguards that nothing may lose unnoticed, each with the edit that removes it, the test that must then fail."""

from typing import Final

import msgspec

_ENDINGS: Final = "store/sql/sqlite/endings.sql"
_ENQUEUE: Final = "store/sql/sqlite/enqueue.sql"
_SESSIONS: Final = "store/sql/sqlite/sessions.sql"
_SWEEPS: Final = "store/sql/sqlite/sweeps.sql"

_POSTGRES: Final = "store/sql/postgres"
_SERVERS: Final = "tests/store/test_postgres_servers.py"
_RACES: Final = "tests/store/test_postgres_races.py"
_MANY: Final = "tests/dispatch/test_servers"
_FAULTS: Final = "tests/store/test_postgres_faults.py"

_NO_BEAT: Final = (
    "    AND (?5 IS NULL OR NOT EXISTS (SELECT 1 FROM servers WHERE servers.id = ?3 AND servers.seen_at > ?5))\n"
)
_NO_BEAT_POSTGRES: Final = _NO_BEAT.replace("?5 IS NULL", "$5::bigint IS NULL").replace("?", "$")
_RESCUE: Final = "tests/store/conformance/test_rescue.py"

_LAW: Final = "tests/store/conformance/test_law.py::test_the_store_does_to_a_row_what_the_law_does"
_STANDS: Final = "WHERE id = ? AND status IN ('claimed', 'running') AND attempt = ? AND claimed_by = ?\n\n-- name: "
_ANY_OLDER: Final = _STANDS.replace("attempt = ?", "attempt >= ?")
_ANYBODY: Final = _STANDS.replace("claimed_by = ?", "? IS NOT NULL")


class Edit(msgspec.Struct, frozen=True):
    """Replaces the one place of a file, below `src/inferpool`, that reads `old`."""

    path: str
    old: str
    new: str


class Safeguard(msgspec.Struct, frozen=True):
    """What is taken out, how, which test (a pytest id) is to notice."""

    name: str
    edits: tuple[Edit, ...]
    test: str


SAFEGUARDS: Final = (
    Safeguard(
        "the attempt in the compare-and-swap of complete",
        (
            Edit(_ENDINGS, f"{_STANDS}complete\n", f"{_ANY_OLDER}complete\n"),
            Edit(_ENDINGS, f"{_STANDS}keep_chunks\n", f"{_ANY_OLDER}keep_chunks\n"),
        ),
        f"{_LAW}[sqlite-running-complete-right-1]",
    ),
    Safeguard(
        "claimed_by in the compare-and-swap of complete",
        (
            Edit(_ENDINGS, f"{_STANDS}complete\n", f"{_ANYBODY}complete\n"),
            Edit(_ENDINGS, f"{_STANDS}keep_chunks\n", f"{_ANYBODY}keep_chunks\n"),
        ),
        f"{_LAW}[sqlite-running-complete-wrong-0]",
    ),
    Safeguard(
        "the bound of an engine's event",
        (Edit("wire/sse.py", "        if size > self._limit:\n", "        if size < 0:\n"),),
        "tests/relay/test_odd_streams.py::test_a_line_that_never_ends_is_given_up",
    ),
    Safeguard(
        "the epoch check of register",
        (Edit("store/sessions.py", "if wish.epoch <= session.epoch:", "if wish.epoch < 0:"),),
        "tests/store/conformance/test_register.py::test_only_a_higher_epoch_is_accepted",
    ),
    Safeguard(
        "the epoch in the claimer's check",
        (Edit(_ENQUEUE, "epoch = ?2 AND server_id = ?3 AND", "?2 > 0 AND server_id = ?3 AND"),),
        "tests/store/conformance/test_claim.py::test_a_session_that_moved_claims_nothing",
    ),
    Safeguard(
        "the server in the claimer's check",
        (Edit(_ENQUEUE, "epoch = ?2 AND server_id = ?3 AND", "epoch = ?2 AND ?3 <> '' AND"),),
        "tests/store/conformance/test_claim.py::test_a_session_that_moved_claims_nothing",
    ),
    Safeguard(
        "the recheck of a session's age before it is lost",
        (Edit(_SESSIONS, "active = 1 AND seen_at <= ?4", "active = 1 AND ?4 IS NOT NULL"),),
        "tests/store/conformance/test_sessions.py::test_a_heartbeat_saves_a_session_from_its_loss",
    ),
    Safeguard(
        "the recheck of a server's heartbeat before its session is rescued",
        (Edit(_SESSIONS, _NO_BEAT, ""),),
        f"{_RESCUE}::test_a_session_whose_server_is_back_in_time_is_not_rescued[sqlite-0]",
    ),
    Safeguard(
        "the heartbeat that one server may not miss while another rescues its sessions",
        (Edit("store/sessions.py", '    await connection.write("hold_server", [(loss.server_id,)])\n', ""),),
        f"{_RACES}::test_a_server_that_beats_before_its_session_is_rescued_keeps_it",
    ),
    Safeguard(
        "one channel an epoch",
        (Edit("store/sessions.py", "    if session.bound:\n", "    if session.epoch < 0:\n"),),
        f"{_RESCUE}::test_an_epoch_has_one_channel_at_whichever_server",
    ),
    Safeguard(
        "no expiry of what a lost worker may still deliver",
        (
            Edit(_SWEEPS, "expires_at <= now_us() AND lost_by IS NULL", "expires_at <= now_us()"),
            Edit(_SWEEPS, "now_us(), error_code = 'expired'", "now_us(), lost_by = NULL, error_code = 'expired'"),
        ),
        "tests/store/conformance/test_sweeps.py::test_a_task_that_its_lost_worker_may_still_deliver_does_not_expire",
    ),
    Safeguard(
        "the try that adopt takes back",
        (Edit(_SESSIONS, "tries = tries - (\n", "tries = tries - 0 * (\n"),),
        "tests/store/conformance/test_holding.py::test_what_was_lost_meanwhile_is_adopted",
    ),
    Safeguard(
        "the look-up of an idempotency key",
        (Edit(_ENQUEUE, "idempotency_keys.created_at > ?3 AND", "idempotency_keys.created_at < -?3 AND"),),
        "tests/store/conformance/test_enqueue.py::test_a_repeat_attaches_to_the_same_task",
    ),
    Safeguard(
        "one idempotency key at a time in a batch",
        (Edit("store/operations.py", '(task.id, f"key {task.owner} {key.key}")', "(task.id,)"),),
        "tests/store/conformance/test_enqueue.py::test_a_repeat_that_races_its_first_makes_one_task",
    ),
    Safeguard(
        "the lock file of the database",
        (Edit("store/sqlite.py", 'path.with_name(path.name + ".lock")', 'path.with_name(f"{id(self)}.lock")'),),
        "tests/store/test_sqlite.py::test_a_second_server_is_told_that_the_file_is_in_use",
    ),
    Safeguard(
        "the gap refusal of a result whose chunks are missing",
        (Edit("dispatch/uplink.py", "if event.last_seq > have:", "if event.last_seq < 0:"),),
        "tests/dispatch/test_streams.py::test_a_result_whose_chunks_are_missing_is_a_gap",
    ),
    Safeguard(
        "the cancel frame for what was taken from a live session",
        (
            Edit(
                "dispatch/scheduler.py",
                "            held.why = why\n            self.send_cancel(session, held)\n",
                "            held.why = why\n",
            ),
        ),
        "tests/dispatch/test_streams.py::test_a_client_that_leaves_cancels_its_task_and_stops_the_engine",
    ),
    Safeguard(
        "the worker's epoch on disk before it is used",
        (
            Edit(
                "worker/state.py",
                "return self.epoch if self.raise_epoch(self.epoch + 1) else None",
                "self._stored = msgspec.structs.replace(self._stored, epoch=self.epoch + 1)\n        return self.epoch",
            ),
        ),
        "tests/worker/test_registration.py::test_identity_and_epoch_are_on_disk_before_they_are_used",
    ),
    Safeguard(
        "the question whether another process has the session",
        (Edit("worker/link.py", "                await self._check_replaced(accepted.key)\n", ""),),
        "tests/worker/test_registration.py"
        "::test_a_process_that_lost_its_channel_to_another_one_ends_before_it_registers_above_it",
    ),
    Safeguard(
        "the outbox's disk copy of a result",
        (
            Edit(
                "worker/shelf.py",
                "self._disk.replace(_name(entry, _RESULT), _encode(shelved))",
                "bool(_encode(shelved))",
            ),
        ),
        "tests/worker/test_uplink.py::test_a_result_that_waits_is_on_disk_and_a_restarted_worker_delivers_it",
    ),
    Safeguard(
        "the lock of the worker's folder",
        (Edit("worker/disk.py", "HeldFile(path / _LOCK,", 'HeldFile(path / f"{id(self)}",'),),
        "tests/worker/test_disk.py::test_a_second_process_on_the_folder_is_refused",
    ),
    Safeguard(
        "the rows that another server has locked, passed over by a claim",
        (Edit(f"{_POSTGRES}/claims.sql", "    FOR UPDATE SKIP LOCKED\n", "    FOR UPDATE\n"),),
        f"{_SERVERS}::test_two_claimers_do_not_wait_for_each_other",
    ),
    Safeguard(
        "the compare-and-swap of an idempotency key",
        (Edit(f"{_POSTGRES}/enqueue.sql", "    WHERE idempotency_keys.task_id = ANY ($6::text[])\n", ""),),
        f"{_SERVERS}::test_one_key_at_two_servers_at_once_makes_one_task",
    ),
    Safeguard(
        "the compare-and-swap of an llm's name",
        (Edit(f"{_POSTGRES}/sessions.sql", "    WHERE llms.name = ANY ($14::text[])\n", ""),),
        f"{_SERVERS}::test_a_name_is_published_by_one_of_two_sessions_that_want_it_at_once",
    ),
    Safeguard(
        "the compare-and-swap of a session's epoch",
        (Edit(f"{_POSTGRES}/sessions.sql", "    WHERE sessions.epoch < excluded.epoch\n", ""),),
        f"{_SERVERS}::test_an_epoch_is_taken_by_one_of_two_registrations_at_once",
    ),
    Safeguard(
        "the lock of the session that a rescuer ends",
        (
            Edit(
                f"{_POSTGRES}/sessions.sql",
                f"{_NO_BEAT_POSTGRES}FOR UPDATE\n",
                _NO_BEAT_POSTGRES,
            ),
        ),
        f"{_SERVERS}::test_a_session_that_two_servers_end_at_once_is_ended_by_one",
    ),
    Safeguard(
        "the question what became of a commit without an answer",
        (Edit("store/postgres_connection.py", "if not await self._was_kept():", "if await self._was_kept() is None:"),),
        f"{_FAULTS}::test_commits_that_are_lost_again_and_again_lose_nothing",
    ),
    Safeguard(
        "the memory that a commit without an answer was kept",
        (Edit("store/postgres_connection.py", "int) > self._commits", "int) < 0"),),
        f"{_FAULTS}::test_a_commit_that_was_lost_is_told_as_if_nothing_had_been[complete-Loss.ANSWER]",
    ),
    Safeguard(
        "the note that a listening connection must hear of itself",
        (Edit("store/postgres_signals.py", "                await self._echoed.wait()\n", ""),),
        "tests/store/test_postgres_signals.py"
        "::test_a_notification_that_does_not_come_back_is_noticed_though_the_connection_answers",
    ),
    Safeguard(
        "the mark on a call whose row is not written yet",
        (Edit("dispatch/feed.py", "        strand.stored = False\n", ""),),
        f"{_MANY}.py::test_a_call_whose_row_is_still_being_written_is_not_taken_for_a_deleted_one",
    ),
    Safeguard(
        "the look at the rows of what is followed at another server",
        (
            Edit(
                "dispatch/net.py",
                "            await self._look(strand, found.get(strand.task_id))\n",
                "            pass\n",
            ),
        ),
        f"{_MANY}.py::test_without_any_hint_a_caller_at_another_server_is_answered_by_the_polls",
    ),
    Safeguard(
        "the look at the rows of what is held here",
        (Edit("dispatch/net.py", "        if lost:\n", "        if lost and not held:\n"),),
        f"{_MANY}.py::test_a_cancel_of_which_nobody_told_is_found_by_the_poll",
    ),
    Safeguard(
        "the question which server serves a session",
        (Edit("dispatch/roaming.py", "standing.server_id != self._server_id:", "standing.server_id == '':"),),
        f"{_MANY}_sessions.py::test_a_worker_that_registers_elsewhere_keeps_its_session_with_what_it_runs",
    ),
    Safeguard(
        "the look for sessions of dead servers",
        (Edit("dispatch/poll.py", "        await self._losses.lose_orphans(options.grace_s)\n", ""),),
        f"{_MANY}_sessions.py::test_what_a_dead_server_held_is_rescued_by_another",
    ),
)

"""The engine that deletes rows in batches, each its own short transaction.

A *policy* names the rows. A *run* deletes those that are there when it begins. It has one or more *shards*, each a row
of the table `retention_runs` (`models`), and each shard goes along a *scan*: the index on the policy's cursor
(`index_scan`) or the heap's pages (`page_scan`), as PostgreSQL's statistics advise (`planner`). Both only go forward. A
position is a place between two rows in PostgreSQL's own text form, of the types that it has for the columns. An
interval of positions is what a batch takes, and what is left.

States. A shard's state (`state`) has the intervals to do, those with locked rows to come back to, and the counts. It is
a value: each batch makes a new one from it. A shard is free (no owner), owned (an owner whose heartbeat is recent), or
silent (an owner whose heartbeat is older than `takeover_after`), until it is done: `stopped` says why, or `taken_on`
that a later run goes on with its rest. A shard that is free or silent can be claimed by whoever takes part in its run.

Who may write what. Runs of a policy are opened one at a time, under an advisory lock that ends with the transaction;
whoever opens a run writes its shards, and may mark those of the policy's last run as taken on if nobody alive has one.
A claim locks the shard's row and writes a new owner, a uuid that each participant draws for itself. From then on only
the owner writes the state, and every such UPDATE has `owner = me` in its WHERE. Nobody else writes to a shard but to
claim it, take it on, or give it other stretches.

Which rows. A policy's rows are those that SQLAlchemy selects for its class and predicate (`target`): all that counts,
finds or deletes rows has that one condition in its WHERE, and one table in its FROM. `relation` looks at what
PostgreSQL has behind that table, and whether a DELETE of it does what it says; both refuse a policy at start. So does
`newest` where a predicate looks at other rows of the table, unless these make it true of the same rows to the end. What
may keep rows without an error, or take others along, can come in the middle of a run: triggers, rules, references of
the table to itself. Each batch compares them (`layout`) with those that were looked at, after its statement, whose lock
on the table keeps them until the commit; where they differ, it is rolled back and the table is looked at again.

What is covered. Each shard's state has the stretches that it was given, and what tells whether another policy names
the same rows (`coverage`). A run begins with what the policy's last one has not come to, and then comes to what that
one has passed; if the table was rewritten, or the policy names other rows, the shards are given other stretches, also
in the middle: a batch along the pages looks at the files in its own transaction, whose lock on the table keeps them.
Rows that refer to their own table go leaf first (`tree`), stretch by stretch from the end; what is held back is come
back to, and from each row that goes the run follows the chain to what it referred to (`climber`).

A batch is one transaction (`step`): set its limits (`transaction`), find where it ends, DELETE with the policy's
predicate, write the new state, commit. If the state's UPDATE finds no row, another has claimed the shard: the
transaction is rolled back with all that it deleted. The object in memory is replaced only after the commit.

What a batch reads is bounded by what it is told to look at, never by how many rows the predicate is true of, or how
many are equal: so each comes forward, and writes that down. Along the key it looks at the next n rows of the index,
between two values of the cursor. Where nearly all of these went, the end of the next batch is guessed by the heap's
order instead; after a bad guess, which costs no more than a batch that is rolled back, only that of twice as large a
batch is guessed again. A value of more rows is cut by the whole key where the planner takes an index that has it, else
its interval is gone through in the order of the disk: an `Interval` with `lines` (`ties`, `heap`). The predicate itself
chooses no plan (`conjuncts`). A scan along the key that turns out dearer than the pages, or does not find its next row
in time, turns what is left of its interval into one with the lines of the whole heap. Lines name the files that they
are of; when these are no more, what is left of the interval is its keys. When a batch fails, `step` learns: too long,
it looks at fewer rows, at last at one for up to 10 s; locked, it passes over; refused, `sifting` tries each of some
hundred rows and takes it back, `quarantine` keeps those that cannot go for the runs that follow; and what also fails a
DELETE of no row is no row's fault, and ends the run.

What each crash leaves:

- before the commit: nothing. The rows are there, the state is the one before, the next owner does the batch again;
- after it: the rows are gone and counted, and the next owner begins behind them;
- in it, the answer lost: the state is read from the server, which knows whether it was committed;
- a process that freezes in a batch: PostgreSQL ends its transaction after `takeover_after` seconds of silence; if it
  comes back when another has its shard, its next write finds no row, as above;
- PostgreSQL itself: as its transactions are, all or nothing. The run waits (`reconnect`) and reads the state;
- between two batches, on SIGTERM or a cancellation: the shard is let go, so the next owner need not wait for silence;
- a network that goes silent: the connection is dropped once an answer is overdue, and a cancellation waits a second.

So nothing is counted twice or lost: a row is deleted and counted in the same transaction, which commits once or not at
all, and the counts are absolute numbers in a state that one owner writes. A row that two runs meet is deleted by one of
them, since a DELETE counts the rows that it has deleted itself. The report (`report`) is the sum over a run's shards.

What is done to a batch's rows (`action`) is a DELETE, one that writes them to an archive in the same statement
(`archive`), or an UPDATE after which the policy does not name them any more (`row_update`); each says how many rows it
met and to how many it was done, and where these differ the batch is rolled back. Partitions that have expired go whole
before a run is opened (`partitions`), each in a transaction of its own: what a crash leaves of them the next run finds.

A gentle run works for a share of the time and rests between its batches (`throttle`), by what it sees of others
(`others`) and what its own statements cost, those of failed batches included; at full pace it does not. A long rest
shows life as often as a wait does.

Beside that, `pace` sizes batches by the time they take, `faults` tells by SQLSTATE whether to wait, pass over locks,
make batches smaller or give up, `load` says when others come first, `bloat` what becomes of dead rows, `preview` and
`dry_run` what a run would do, `cost` what it reads and writes, `ceilings` what a policy allows it, `progress` how far
it is. `engine` is the way in.
"""

from typing import TYPE_CHECKING

from kiqstart.lazy_names import lazy_names

if TYPE_CHECKING:
    from kiqstart.retention.ceilings import Ceilings, DailyWindow
    from kiqstart.retention.cost import RowCost
    from kiqstart.retention.dry_run import DryRun
    from kiqstart.retention.engine import RetentionEngine
    from kiqstart.retention.errors import (
        InvalidRunOptionError,
        PolicyError,
        RetentionError,
        RetentionSchemaError,
        UnknownPolicyError,
    )
    from kiqstart.retention.faults import is_transient
    from kiqstart.retention.history import PastRun
    from kiqstart.retention.load import LoadCheck, PostgresLoad
    from kiqstart.retention.models import RetentionBase, RetentionRun, UndeletableRow
    from kiqstart.retention.policies import RetentionPolicies
    from kiqstart.retention.policy import PaceKind, PartitionAction, RetentionPolicy, ScanKind
    from kiqstart.retention.preview import RetentionPreview
    from kiqstart.retention.progress import ProgressCallback, RetentionProgress
    from kiqstart.retention.report import RetentionFailure, RetentionReport, StopReason
    from kiqstart.retention.row_update import RowUpdate
    from kiqstart.retention.run_options import MAX_SHARDS, RunLimits, RunOptions
    from kiqstart.retention.schema import RETENTION_RIGHTS, upgrade_retention
    from kiqstart.retention.settings import RetentionSettings

__all__ = [
    "MAX_SHARDS",
    "RETENTION_RIGHTS",
    "Ceilings",
    "DailyWindow",
    "DryRun",
    "InvalidRunOptionError",
    "LoadCheck",
    "PaceKind",
    "PartitionAction",
    "PastRun",
    "PolicyError",
    "PostgresLoad",
    "ProgressCallback",
    "RetentionBase",
    "RetentionEngine",
    "RetentionError",
    "RetentionFailure",
    "RetentionPolicies",
    "RetentionPolicy",
    "RetentionPreview",
    "RetentionProgress",
    "RetentionReport",
    "RetentionRun",
    "RetentionSchemaError",
    "RetentionSettings",
    "RowCost",
    "RowUpdate",
    "RunLimits",
    "RunOptions",
    "ScanKind",
    "StopReason",
    "UndeletableRow",
    "UnknownPolicyError",
    "is_transient",
    "upgrade_retention",
]

__getattr__ = lazy_names(
    __name__,
    {
        "kiqstart.retention.ceilings": "Ceilings DailyWindow",
        "kiqstart.retention.cost": "RowCost",
        "kiqstart.retention.dry_run": "DryRun",
        "kiqstart.retention.engine": "RetentionEngine",
        "kiqstart.retention.errors": (
            "InvalidRunOptionError PolicyError RetentionError RetentionSchemaError UnknownPolicyError"
        ),
        "kiqstart.retention.faults": "is_transient",
        "kiqstart.retention.history": "PastRun",
        "kiqstart.retention.load": "LoadCheck PostgresLoad",
        "kiqstart.retention.models": "RetentionBase RetentionRun UndeletableRow",
        "kiqstart.retention.policies": "RetentionPolicies",
        "kiqstart.retention.policy": "PaceKind PartitionAction RetentionPolicy ScanKind",
        "kiqstart.retention.preview": "RetentionPreview",
        "kiqstart.retention.progress": "ProgressCallback RetentionProgress",
        "kiqstart.retention.report": "RetentionFailure RetentionReport StopReason",
        "kiqstart.retention.row_update": "RowUpdate",
        "kiqstart.retention.schema": "RETENTION_RIGHTS upgrade_retention",
        "kiqstart.retention.run_options": "MAX_SHARDS RunLimits RunOptions",
        "kiqstart.retention.settings": "RetentionSettings",
    },
)

//! One node's agent: what should run here against what does, as a list of things to ask of files and systemd.
//!
//! [`desired`] picks this machine's units from the cluster's, [`reconcile`] compares them with what is observed and says
//! what to do next, [`report`] says which unit states to publish. The shell calls reconcile again whenever an assignment
//! or a unit's state changed; each call is one step from wherever things stand, so nothing has to be awaited and nothing
//! is remembered but what was [`Reported`] and what lies on disk: the unit files, and for each whether we started it ([`OnDisk::launched`]).
//!
//! One unit, `busy` being any ActiveState but inactive and failed:
//!
//! | wanted here | our file on disk | systemd | next |
//! |---|---|---|---|
//! | no | yes | busy, or we started it | stop it; the rest when it has stopped |
//! | no | yes | stopped | disable (with `[Install]`) or unlink, reset-failed, remove the file, reload |
//! | loaded or launched | none | any | write, link, enable (with `[Install]`), reload; or find, where no unit of the list needs a reload: systemd knows no unit of that name, and there is no `[Install]` |
//! | loaded or launched | other content | busy, or we started it | stop it; the rest when it has stopped |
//! | loaded or launched | other content | stopped | unload as above, then load as above |
//! | launched | this content | any | start it, unless we did |
//! | loaded | this content | any | stop it, if we started it |
//!
//! - A unit that we started and that ended, well or badly, is left alone: restarting is systemd's (`Restart=`).
//! - A unit that runs although we did not start it is started all the same, which systemd takes as done; one that is
//!   only loaded and was started by its socket or timer is left alone.
//! - A start waits while a unit of ours that conflicts with it, or is replaced by it, still runs or was started here: the
//!   two never run together on one machine, even where the scheduler has not yet seen what changed.
//! - All leaving comes first: a machine that returns to the cluster stops what is no longer its own before it takes more.
//! - A machine that the cluster does not have leaves alone what it is to have.
//! - A machine that the cluster may hold for lost ends the units that must not run twice (the table in `fence.rs`).
//!
//! The list's order is fleet's: unload, load, reload (or find), stop, start. When one action fails, the shell drops the rest of the
//! list for that unit, says so, and goes on with the others. Source: contract `fleet.md` section 4, Agent.
//!
//! Refuses to do: anything. No D-Bus, no file, no clock.

mod desired;
mod fence;
mod observed;
mod reconcile;
mod report;
mod starts;

pub use desired::{Candidate, DesiredUnit, desired};
pub use fence::{Contact, Fenced, SHORTEST_TTL, fence, reconcile_fenced};
pub use observed::{NotLoaded, Observed, OnDisk};
pub use reconcile::{Action, reconcile};
pub use report::{Report, Reported, report};
pub use starts::{FAILED_START, judge_starts};

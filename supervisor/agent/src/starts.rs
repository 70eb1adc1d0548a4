//! What became of starts: which came to nothing, and which ran after all.
//!
//! A unit whose dependency failed is `inactive`, as one that has run is; only the end of its job tells them apart.

use std::collections::BTreeMap;

use corten_spec::unit_name::UnitName;

use crate::observed::Observed;

/// Why a start came to nothing of which systemd says only that it failed. The unit itself is then `failed`, and that says it;
/// but a timer or a socket whose service is not there is refused so, too, and stays `inactive`.
pub const FAILED_START: &str = "systemd could not start it (systemctl status on its machine says why)";

/// The units whose [`crate::OnDisk::start_error`] changes, with the new one. `ended_badly` has the units whose last job came to
/// nothing, and why. A job nobody here asked for, and one of a unit that runs, are no concern of ours.
pub fn judge_starts(
    observed: &BTreeMap<UnitName, Observed>,
    ended_badly: &BTreeMap<String, String>,
) -> Vec<(UnitName, String)> {
    let judge = |(name, seen): (&UnitName, &Observed)| {
        let on_disk = seen.on_disk.as_ref().filter(|on_disk| on_disk.launched)?;
        let error = match ended_badly.get(name.as_str()) {
            _ if seen.is_busy() => "",
            Some(why) if why == FAILED_START && seen.active == "failed" => return None,
            Some(why) => why,
            None => return None,
        };
        (error != on_disk.start_error).then(|| (name.clone(), error.to_owned()))
    };
    observed.iter().filter_map(judge).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::OnDisk;

    #[test]
    fn a_start_is_judged_by_its_job_until_the_unit_runs() {
        let name = UnitName::parse("a.service").unwrap();
        let judged = |active: &str, launched: bool, start_error: &str, why: Option<&str>| {
            let on_disk = OnDisk {
                launched,
                start_error: start_error.to_owned(),
                ..OnDisk::default()
            };
            let seen = Observed {
                on_disk: Some(on_disk),
                active: active.to_owned(),
                ..Observed::default()
            };
            let ended = why.map(|why| (name.to_string(), why.to_owned()));
            let news = judge_starts(&[(name.clone(), seen)].into(), &ended.into_iter().collect());
            news.first().map(|(_, error)| error.clone())
        };
        let table = [
            ("inactive", true, "", Some("why"), Some("why")),
            ("failed", true, "refused", Some("why"), Some("why")),
            ("inactive", true, "why", Some("why"), None),
            ("inactive", true, "refused", None, None),
            ("active", true, "refused", None, Some("")),
            ("activating", true, "", Some("why"), None),
            ("inactive", false, "", Some("why"), None),
            ("inactive", true, "", Some(FAILED_START), Some(FAILED_START)),
            ("failed", true, "", Some(FAILED_START), None),
        ];
        for (active, launched, before, why, expected) in table {
            let found = judged(active, launched, before, why);
            assert_eq!(
                found.as_deref(),
                expected,
                "{active} {launched} {before:?} {why:?}"
            );
        }
    }
}

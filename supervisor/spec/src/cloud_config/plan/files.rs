//! The part of the plan that concerns files: the user's own, and those made from `manage_etc_hosts`, `coreos.oem` and
//! the machine's addresses. What the user writes himself is never overwritten by a file made here.

use std::collections::BTreeMap;

use super::super::config::{CloudConfig, File, Located};
use super::super::merge;
use super::super::validate::{READ_ONLY, clean, is_under_usr};
use super::{Facts, Plan, Step};

pub(super) fn plan_file(file: &Located<File>, plan: &mut Plan) {
    let (line, file) = (file.line, &file.value);
    let path = format!("/{}", clean(&file.path).join("/"));
    if !file.path.starts_with('/') || path == "/" || file.path.contains('\0') {
        let what = match file.path.as_str() {
            "" => "a file without \"path\" is left out".to_owned(),
            path => format!("\"path\": {path:?} is not an absolute path; the file is left out"),
        };
        plan.report.error(line, what);
    } else if is_under_usr(&path) {
        plan.report.error(line, format!("{path}: {READ_ONLY}"));
    } else {
        let (content, mode, owner) = (file.content.clone(), file.mode, file.owner.clone());
        plan.push(
            line,
            Step::File {
                path,
                content,
                mode,
                owner,
            },
        );
    }
}

pub(super) fn plan_hosts(config: &CloudConfig, hostname: &str, plan: &mut Plan) {
    let Some(wanted) = &config.manage_etc_hosts else {
        return;
    };
    if plan.writes("/etc/hosts") {
        return;
    }
    let text = format!("127.0.0.1 localhost\n::1 localhost\n127.0.0.1 {hostname}\n");
    plan.write(wanted.line, "/etc/hosts".to_owned(), text);
}

pub(super) fn plan_oem(config: &CloudConfig, plan: &mut Plan) {
    let Some(oem) = config.oem.as_ref().filter(|oem| !oem.value.id.is_empty()) else {
        return;
    };
    let value = &oem.value;
    let text = format!(
        "ID={}\nVERSION_ID={}\nNAME={:?}\nHOME_URL={:?}\nBUG_REPORT_URL={:?}\n",
        value.id, value.version_id, value.name, value.home_url, value.bug_report_url
    );
    plan.write(oem.line, "/etc/oem-release".to_owned(), text);
}

/// /etc/environment is there in any case, because units name it without a `-`; the user's own wins.
pub(super) fn plan_environment(facts: &Facts, plan: &mut Plan) {
    let path = "/etc/environment";
    if plan.writes(path) {
        return;
    }
    let known = facts.addresses.named().into_iter();
    let known = known
        .filter_map(|(name, value)| Some((format!("COREOS_{}", name.to_uppercase()), value?.to_owned())));
    let values: BTreeMap<String, String> = known.collect();
    let text = merge::set_variables(facts.environment.as_deref().unwrap_or_default(), &values);
    if facts.environment.as_deref() != Some(&text) {
        plan.write(0, path.to_owned(), text);
    }
}

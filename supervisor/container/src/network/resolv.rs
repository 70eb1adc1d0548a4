//! What a container finds in /etc/resolv.conf and /etc/hosts. Pure.

use crate::record::Attachment;

/// The container's resolv.conf from the machine's: loopback resolvers are left out, since they are not in the container;
/// with none left, Docker's public ones stand in.
pub fn resolv_conf(machine: &str, dns: &[String], search: &[String], shares_network: bool) -> String {
    let line = |word: &str| -> Vec<String> {
        let lines = machine.lines().filter_map(|line| line.trim().strip_prefix(word));
        lines
            .filter(|rest| rest.starts_with([' ', '\t']))
            .map(|rest| rest.trim().to_owned())
            .collect()
    };
    let mut servers: Vec<String> = if dns.is_empty() {
        line("nameserver")
    } else {
        dns.to_vec()
    };
    if dns.is_empty() && !shares_network {
        servers.retain(|server| !server.starts_with("127.") && server != "::1");
        if servers.is_empty() {
            servers = vec!["8.8.8.8".into(), "8.8.4.4".into()];
        }
    }
    let searches = if search.is_empty() {
        line("search").into_iter().take(1).collect()
    } else {
        vec![search.join(" ")]
    };
    let mut text: String = servers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    text.extend(
        searches
            .iter()
            .filter(|list| !list.is_empty() && *list != ".")
            .map(|list| format!("search {list}\n")),
    );
    text.extend(line("options").iter().map(|list| format!("options {list}\n")));
    text
}

/// The container's hosts file.
pub fn hosts_file(hostname: &str, extra: &[String], attachment: Option<&Attachment>) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    for entry in extra {
        let (name, address) = entry.split_once([':', '=']).unwrap_or((entry, ""));
        let gateway = || attachment.map_or_else(|| "127.0.0.1".to_owned(), |a| a.gateway.to_string());
        let address = if address == "host-gateway" {
            gateway()
        } else {
            address.to_owned()
        };
        text.push_str(&format!("{address}\t{name}\n"));
    }
    if let Some(attachment) = attachment {
        text.push_str(&format!("{}\t{hostname}\n", attachment.address));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_resolvers_do_not_reach_into_a_container() {
        let machine = "# x\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch a b\noptions edns0\n";
        assert_eq!(
            resolv_conf(machine, &[], &[], false),
            "nameserver 10.0.0.1\nsearch a b\noptions edns0\n"
        );
        assert!(resolv_conf(machine, &[], &[], true).starts_with("nameserver 127.0.0.53\n"));
        assert!(resolv_conf("", &[], &[], false).contains("8.8.8.8"));
        let own = resolv_conf(machine, &["1.1.1.1".into()], &["x.y".into()], false);
        assert_eq!(own, "nameserver 1.1.1.1\nsearch x.y\noptions edns0\n");
    }

    #[test]
    fn hosts_hold_the_own_name_and_what_was_asked_for() {
        let text = hosts_file("h", &["db:10.0.0.9".into()], None);
        assert!(
            text.contains("10.0.0.9\tdb\n") && !text.contains("\th\n"),
            "{text}"
        );
    }
}

//! What ssh says when it cannot get to a machine, to the one thing to do about it: it ends with 255 whatever was wrong.

/// What is found in its words, and what is to be done; the first that is found counts. Behind a tunnel that fails ssh goes on
/// to say that its connection was closed, and that is no reason.
const ADVICE: [(&[&str], &str); 4] = [
    (
        &[
            "REMOTE HOST IDENTIFICATION HAS CHANGED",
            "has changed and you have requested strict checking",
        ],
        "The host key is another than the known one: if the machine was set up anew, take the old one out, as ssh says \
         above; else this is not that machine.",
    ),
    (
        &["Host key verification failed", "host key is known for"],
        "A host key that is not known: --strict-host-key-checking=false takes any, --known-hosts-file FILE names a file \
         that has it.",
    ),
    (
        // Not that of a file, of which it says `(Permission denied)`.
        &["Permission denied (", "Too many authentication failures"],
        "Permission denied: the key comes from an agent (on a machine of the cluster, log in there with ssh -A), from \
         --ssh-identity FILE or from ~/.ssh/config; the user is --ssh-username.",
    ),
    (
        &[
            "Connection refused",
            "timed out",
            "No route to host",
            "Network is unreachable",
            "Could not resolve hostname",
        ],
        "Nobody answers there: is the machine up, and is that where its SSH listens (--tunnel HOST[:PORT], --ssh-port \
         PORT)?",
    ),
];

/// What to do, where ssh's own words tell.
pub(crate) fn ssh_advice(words: &str) -> Option<&'static str> {
    let mut fitting = ADVICE
        .iter()
        .filter(|(said, _)| said.iter().any(|said| words.contains(said)));
    fitting.next().map(|(_, advice)| *advice)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_advice_that_fits() {
        for (words, advice) in [
            (
                "No ED25519 host key is known for [127.0.0.1]:22 and you have requested strict checking.\r\n\
                 Host key verification failed.\r\n",
                "A host key that is not known",
            ),
            (
                "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n\
                 Host key for 10.0.0.1 has changed and you have requested strict checking.\r\n\
                 Host key verification failed.\r\n",
                "The host key is another",
            ),
            (
                "Could not create directory '/home/a/.ssh' (Permission denied).\r\n\
                 core@10.0.0.1: Permission denied (publickey).\r\n\
                 Connection closed by UNKNOWN port 65535\r\n",
                "Permission denied: the key",
            ),
            (
                "Could not create directory '/home/a/.ssh' (Permission denied).\r\n\
                 ssh: connect to host 10.0.0.1 port 22: Connection refused\r\n",
                "Nobody answers there",
            ),
            (
                "channel 0: open failed: connect failed: Connection refused\r\nstdio forwarding failed\r\n",
                "Nobody answers there",
            ),
            (
                "ssh: Could not resolve hostname nowhere: Name or service not known\r\n",
                "Nobody answers there",
            ),
        ] {
            assert!(ssh_advice(words).unwrap().starts_with(advice), "{words}");
        }
        for words in [
            "",
            "kex_exchange_identification: Connection closed by remote host\r\n",
        ] {
            assert_eq!(ssh_advice(words), None, "{words}");
        }
    }
}

//! What a datasource says about the machine beside the user-data: OpenStack's `meta_data.json`.
//!
//! Reads the two things cloud-config can also set, `hostname` and `public_keys`; everything else is somebody else's.

use serde_json::Value;

/// A machine's name and keys, as its surroundings know them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The name; cloud-config's own wins.
    pub hostname: Option<String>,
    /// Keys for the user `core`, beside cloud-config's own.
    pub public_keys: Vec<String>,
}

/// Reads `meta_data.json`.
///
/// # Errors
/// Text that is not JSON, with the parser's line.
pub fn parse(text: &str) -> Result<Metadata, serde_json::Error> {
    let data: Value = serde_json::from_str(text)?;
    let hostname = data
        .get("hostname")
        .or_else(|| data.get("local-hostname"))
        .and_then(Value::as_str);
    let public_keys = match data.get("public_keys") {
        Some(Value::Object(named)) => named
            .values()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        Some(Value::Array(keys)) => keys.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(key)) => vec![key.clone()],
        _ => Vec::new(),
    };
    Ok(Metadata {
        hostname: hostname.filter(|h| !h.is_empty()).map(str::to_owned),
        public_keys,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn name_and_keys() {
        let read =
            parse(r#"{"uuid": "x", "hostname": "m1", "public_keys": {"a": "ssh-rsa A", "b": "ssh-rsa B"}}"#);
        let wanted = Metadata {
            hostname: Some("m1".into()),
            public_keys: vec!["ssh-rsa A".into(), "ssh-rsa B".into()],
        };
        assert_eq!(read.unwrap(), wanted);
        assert_eq!(parse("{}").unwrap(), Metadata::default());
        assert_eq!(
            parse(r#"{"hostname": 3, "public_keys": 4}"#).unwrap(),
            Metadata::default()
        );
        assert!(parse("{\n,").unwrap_err().to_string().contains("line 2"));
    }
}

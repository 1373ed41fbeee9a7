//! The first `config.toml`: what `init` knows, and the other settings as comments that say what they do.

use branchline_core::id::ServerId;
use branchline_core::peer::PeerAddress;

use super::{DatabaseUrl, Profile};

/// What a new server's file says.
#[derive(Debug, Clone)]
pub struct Template<'a> {
    /// Who it is.
    pub server: &'a ServerId,
    /// What people call it; its id, where nothing is said.
    pub name: Option<&'a str>,
    /// What is assumed of the network.
    pub profile: Profile,
    /// Its database.
    pub database: &'a DatabaseUrl,
    /// Where it listens; nothing, where it only calls.
    pub listen: Option<&'a str>,
    /// Where peers may find it.
    pub advertise: &'a [PeerAddress],
}

/// The text of a new server's file. It holds the database URL with its password.
#[must_use]
pub fn expose_template(values: &Template<'_>) -> String {
    let name = match values.name {
        Some(name) => format!("name = {}", quoted(name)),
        None => "# name = \"Shop in Main Street\"".to_owned(),
    };
    let advertise = match values.advertise {
        [] => "# advertise = [\"hq-shop.duckdns.org:8443\"]".to_owned(),
        addresses => {
            let listed: Vec<String> = addresses.iter().map(|address| quoted(&address.to_string())).collect();
            format!("advertise = [{}]", listed.join(", "))
        }
    };
    format!(
        r#"# branchline: settings of {id}.  Check them with:  branchline config check
# Any of them can be set by the environment too, as BRANCHLINE_SECTION__KEY.
config_version = 1

[server]
id = {id_quoted}
# What people call it.
{name}
# What is assumed of the network: internet (anybody may knock) or lan.
profile = "{profile}"
# The shop's time zone; the system's, where nothing is said.
# time_zone = "Europe/Vienna"

[database]
# postgresql://user@host/name or sqlite:path/to/file.db; a relative path is relative to this file.
url = {url}
# The URL in a file of its own instead, for example one that only this user can read.
# url_file = "database-url"
# The tables that sync; all that can, where nothing is said.  See them with:  branchline tables
# tables = ["products", "orders"]
# Tables that stay at home.
# except = ["sessions"]

[listen]
# Where peers may call.  "" where this server only calls others.
address = {listen}
# Where they find it from outside; said in invitations.
{advertise}

[backup]
# zstd, gzip or none.
# compression = "zstd"

[capture]
# How large the ledger may grow, in MiB, before a peer that is far behind gets a full backup instead of changes.
# budget_mib = 2048

[log]
# error, warn, info, debug or trace; or for parts, as in "info,branchline_net=debug".
# level = "info"

# What serve does by itself, one section for each entry.  See them with:  branchline schedule list
# kind is full, incremental, daily_transactions, compare or live; live has no times.  To all peers, where none is named.
# [[schedule]]
# name = "end of day"
# kind = "daily_transactions"
# at = "Monday to Saturday at 22:30"
# peers = ["CENTRAL-HQ"]
"#,
        id = values.server,
        id_quoted = quoted(values.server.as_str()),
        profile = values.profile.as_str(),
        url = quoted(values.database.expose_url()),
        listen = quoted(values.listen.unwrap_or_default()),
    )
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

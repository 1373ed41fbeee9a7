//! `invite`: makes the line that lets another server join.

use super::done::{Done, Failure};
use super::run::{Reply, Session};
use super::text;
use crate::api::v1::{Answer, Command};
use crate::node::clock::now;

/// What `invite` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The id that the joining server must have; any, where it is left out
    #[arg(value_name = "ID")]
    server: Option<String>,
    /// What people call it here [default: what it calls itself]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Where this server can be found, where listen.advertise does not say it
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// How long the line is good, such as 30m, 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    valid: Option<u64>,
    /// Pass on to it what other servers made, too
    #[arg(long)]
    relay: bool,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Done, Failure> {
    let Arguments { server, name, address, valid, relay } = arguments;
    let command = Command::Invite { server, name, address, valid_seconds: valid, relay };
    let Reply { answer, data, served } = session.change(command).await?;
    let Answer::Invite(invited) = answer else { return Err(Failure::unexpected_answer()) };
    let whom = invited.server.as_deref().unwrap_or("the other server");
    let said = format!(
        "Run this on {whom}. It is good once, until {}.\nWhoever reads it can join: send it only to whom it is for.\n\n  \
         branchline join {}\n",
        text::time(&invited.expires_at, now()),
        invited.invitation
    );
    let done = Done::new(data, said);
    Ok(if served {
        done.next("branchline peers list   # once it was used")
    } else {
        done.next("branchline serve   # so that it can be used")
    })
}

fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text} is not a time such as 30m, 24h or 7d");
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    seconds.filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(["90s", "30m", "24h", "7d"].map(seconds), [Ok(90), Ok(1_800), Ok(86_400), Ok(604_800)]);
        for wrong in ["", "h", "24", "0h", "-1h", "1 h", "99999999999999999999d", "é"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}

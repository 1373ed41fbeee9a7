//! `config`: whether the settings are valid, and what they are.

use super::done::{Done, Failure};
use super::run::Session;
use super::{json, text};

/// What can be asked of the settings.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Name every fault at once
    Check,
    /// Every setting, without secrets
    Show {
        /// Where each comes from
        #[arg(long)]
        origin: bool,
    },
}

impl Verb {
    pub(crate) fn schema(&self) -> &'static str {
        match self {
            Self::Check => "branchline.config.check/1",
            Self::Show { .. } => "branchline.config.show/1",
        }
    }
}

pub(crate) fn run(verb: &Verb, session: &Session) -> Result<Done, Failure> {
    let (settings, shown) = session.settings_with_origins(Vec::new())?;
    let file = session.config_file()?;
    match verb {
        Verb::Check => {
            let data = json::object([
                ("file", file.display().to_string().into()),
                ("server", settings.server.to_string().into()),
            ]);
            let said = format!("The settings of {} are valid: {}", settings.server, file.display());
            Ok(Done::new(data, said).next("branchline config show --origin"))
        }
        Verb::Show { origin } => {
            let data = json::of_settings(&shown);
            let said = if *origin {
                let rows =
                    shown.into_iter().map(|line| [line.key.to_owned(), line.value, line.origin.short()]);
                format!("{}\n\n{}", file.display(), text::table(["key", "value", "from"], rows))
            } else {
                text::pairs(shown.into_iter().map(|line| (line.key, line.value)))
            };
            Ok(Done::new(data, said).next(format!("edit {}, then  branchline config check", file.display())))
        }
    }
}

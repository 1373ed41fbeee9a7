//! Carries out calls: by a running `serve` where there is one, else by a node in this process.
//!
//! A call that changes something holds the home's lock while it runs here. One that only reads does not: SQLite
//! lets it read beside a writer, and nothing is swept or mended by it.

use std::path::PathBuf;
use std::sync::Arc;

use branchline_core::code::{Code, Explain};
use branchline_state::HomeLock;

use super::arguments::GlobalArguments;
use super::done::Failure;
use super::json;
use super::output::Output;
use crate::api::v1::{Answer, Command, Problem};
use crate::control;
use crate::node::{Node, ProgressSink};
use crate::settings::{
    FlagSetting, Settings, ShownSetting, Sources, default_config_file, default_home, load_with_origins,
};

/// What every verb works with.
pub(crate) struct Session {
    pub(crate) global: GlobalArguments,
    pub(crate) output: Output,
}

/// An answer, for people and for programs.
pub(crate) struct Reply {
    /// Without control characters: parts of it were written by peers, and a terminal obeys such characters.
    pub(crate) answer: Answer,
    /// Exactly as it was answered.
    pub(crate) data: serde_json::Value,
    /// Whether a running `serve` answered.
    pub(crate) served: bool,
}

impl Session {
    pub(crate) fn new(global: GlobalArguments, output: Output) -> Self {
        Self { global, output }
    }

    pub(crate) fn home(&self) -> Result<PathBuf, Failure> {
        let home = self.global.home.clone().or_else(default_home);
        let home =
            home.ok_or_else(|| Failure::usage("no home folder is known", "say where it is: --home FOLDER"))?;
        std::path::absolute(&home).map_err(|error| Failure::internal(format!("{}: {error}", home.display())))
    }

    pub(crate) fn config_file(&self) -> Result<PathBuf, Failure> {
        match &self.global.config {
            Some(file) => std::path::absolute(file)
                .map_err(|error| Failure::internal(format!("{}: {error}", file.display()))),
            None => Ok(default_config_file(&self.home()?)),
        }
    }

    pub(crate) fn settings(&self, flags: Vec<FlagSetting>) -> Result<Settings, Failure> {
        self.settings_with_origins(flags).map(|(settings, _)| settings)
    }

    /// The settings, and where each comes from.
    pub(crate) fn settings_with_origins(
        &self,
        flags: Vec<FlagSetting>,
    ) -> Result<(Settings, Vec<ShownSetting>), Failure> {
        let (home, config_file) = (self.home()?, self.config_file()?);
        if !config_file.try_exists().unwrap_or(true) {
            let message =
                format!("there is no server in {}: {} is not there", home.display(), config_file.display());
            return Err(Problem::new(Code::NOT_INITIALISED, message).into());
        }
        let environment = std::env::vars_os()
            .map(|(name, text)| (name.to_string_lossy().into_owned(), text.to_string_lossy().into_owned()))
            .collect();
        let sources = Sources { home: &home, config_file: &config_file, environment, flags };
        load_with_origins(&sources).map_err(Failure::settings)
    }

    /// A call that changes nothing.
    pub(crate) async fn read(&self, command: Command) -> Result<Reply, Failure> {
        let progress = self.output.progress();
        if let Some(answer) = control::call(&self.home()?, &command, &progress).await? {
            return Ok(reply(answer, true));
        }
        self.execute_here(command, progress, false).await
    }

    /// A call that changes something.
    pub(crate) async fn change(&self, command: Command) -> Result<Reply, Failure> {
        let progress = self.output.progress();
        let home = self.home()?;
        if let Some(answer) = control::call(&home, &command, &progress).await? {
            return Ok(reply(answer, true));
        }
        // Before the lock: locking would make the folder of a home that is not there.
        self.settings(Vec::new())?;
        let _lock: HomeLock = match branchline_state::lock(&home) {
            Ok(lock) => lock,
            Err(error) if error.code() == Code::HOME_LOCKED => {
                // A serve that was just starting has its socket open by now.
                return match control::call(&home, &command, &progress).await? {
                    Some(answer) => Ok(reply(answer, true)),
                    None => Err(error.into()),
                };
            }
            Err(error) => return Err(error.into()),
        };
        self.execute_here(command, progress, true).await
    }

    /// The caller holds the lock where `holds_lock` says so.
    async fn execute_here(
        &self,
        command: Command,
        progress: ProgressSink,
        holds_lock: bool,
    ) -> Result<Reply, Failure> {
        let node: Arc<Node> = Node::open(self.settings(Vec::new())?).await?;
        if holds_lock {
            node.reconcile().await?;
        }
        Ok(reply(Box::pin(node.execute(command, progress)).await?, false))
    }
}

fn reply(answer: Answer, served: bool) -> Reply {
    let data = json::data_of(&answer);
    Reply { answer: json::without_control_characters(&answer).unwrap_or(answer), data, served }
}

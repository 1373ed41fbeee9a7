//! The checks of which rows leave this database: `[[filter]]`.
//!
//! Whether the table is there, and whether the database understands the condition, is not a matter of the settings: the
//! database says so when it is asked, and `status` does.

use branchline_core::id::ServerId;
use branchline_core::scope::Filter;

use super::Check;
use crate::settings::raw::RawEntry;

/// Characters of a filter's condition.
const CONDITION_CHARACTERS_MAX: usize = 4_000;

impl Check<'_> {
    /// The filters without fault.
    pub(super) fn filters(&mut self) -> Vec<Filter> {
        self.each_entry("filter", |check, entry| check.filter(entry))
    }

    fn filter(&mut self, entry: &RawEntry) -> Option<Filter> {
        self.must_be_set(entry, "filter.table", "for example  table = \"orders\"");
        self.must_be_set(entry, "filter.where", "for example  where = \"store = 'S1'\"");
        let table = self.table_name("filter.table");
        let condition = self.condition();
        let faults = self.faults.len();
        let peers: Vec<ServerId> = self.list("filter.peers", str::parse);
        // A filter that is for nobody by a slip must not become one for all.
        let peers_are_known = faults == self.faults.len() && !entry.misread.contains(&"filter.peers");
        let follow = self.one_of("filter.follow", &[("yes", true), ("no", false)]).unwrap_or(true);
        Some(Filter {
            table: table?,
            peers: peers_are_known.then_some(peers)?,
            condition: condition?,
            follow,
        })
    }

    /// One condition. What would end it and begin something else is refused to catch slips: whoever writes these settings
    /// may do anything in this database.
    fn condition(&mut self) -> Option<String> {
        let (text, place) = self.text("filter.where")?;
        let slip = [";", "--", "/*"].into_iter().find(|slip| text.contains(slip));
        let fault = match slip {
            _ if text.trim().is_empty() => Some("a condition cannot be empty".to_owned()),
            _ if text.chars().count() > CONDITION_CHARACTERS_MAX => {
                Some(format!("a condition has {CONDITION_CHARACTERS_MAX} characters at most"))
            }
            Some(slip) => Some(format!("a condition cannot hold {slip}")),
            None => None,
        };
        match fault {
            None => Some(text.trim().to_owned()),
            Some(message) => {
                self.fault("filter.where", message, "for example  where = \"store = 'S1'\"", place);
                None
            }
        }
    }
}

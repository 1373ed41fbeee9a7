//! Settings from the environment: `BRANCHLINE_SECTION__KEY`, with two underscores between section and key.
//!
//! A list is written `one, two` or as a TOML list. A variable that looks like a setting and is none is a fault: it
//! would otherwise be ignored in silence. `BRANCHLINE_HOME` is the home folder and `BRANCHLINE_LOG` is short for
//! `BRANCHLINE_LOG__LEVEL`; other variables without two underscores belong to other programs.

use toml::de::DeValue;

use super::fault::{Place, SettingsFault};
use super::keys::{self, Form, KEYS, Key};
use super::raw::{Content, RawSettings, RawValue};

const PREFIX: &str = "BRANCHLINE_";
const LOG_LEVEL: &str = "log.level";

/// Reads what concerns us of an environment.
pub(super) fn read(environment: &[(String, String)], faults: &mut Vec<SettingsFault>) -> RawSettings {
    let mut values = RawSettings::new();
    for (variable, text) in environment {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        let place = Place::Environment { variable: variable.clone() };
        let key = settable().find(|key| variable_of(key) == *variable);
        if let Some(key) = key {
            values.insert(key.path, RawValue { content: content(key, text, &place), place });
        } else if name == "LOG" {
            let short = RawValue { content: Content::Text(text.clone()), place };
            values.entry(LOG_LEVEL).or_insert(short);
        } else if let Some(fault) = unknown(variable, name, place) {
            faults.push(fault);
        }
    }
    values
}

/// A value as it stands in the environment or in a flag.
pub(super) fn content(key: &Key, text: &str, place: &Place) -> Content {
    if key.form == Form::Number
        && let Ok(number) = text.trim().parse()
    {
        return Content::Number(number);
    }
    if key.form != Form::List {
        return Content::Text(text.to_owned());
    }
    let items = toml_list(text).unwrap_or_else(|| {
        text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    });
    Content::List(items.into_iter().map(|item| (item, place.clone())).collect())
}

fn toml_list(text: &str) -> Option<Vec<String>> {
    if !text.trim_start().starts_with('[') {
        return None;
    }
    let list = DeValue::parse(text.trim()).ok()?;
    let DeValue::Array(items) = list.get_ref() else { return None };
    let text_of = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    };
    items.iter().map(text_of).collect()
}

fn settable() -> impl Iterator<Item = &'static Key> {
    // Which form the file has, and what comes in sections, only the file can say.
    KEYS.iter().filter(|key| key.path != "config_version" && key.form != Form::Entries)
}

fn variable_of(key: &Key) -> String {
    format!("{PREFIX}{}", key.path.replace('.', "__").to_ascii_uppercase())
}

/// The fault of a variable that can only be meant as a setting.
fn unknown(variable: &str, name: &str, place: Place) -> Option<SettingsFault> {
    let single = |key: &Key| key.path.replace('.', "_").to_ascii_uppercase();
    let meant = if name.contains("__") {
        let names: Vec<String> = settable().map(variable_of).collect();
        keys::nearest(variable, names.iter().map(String::as_str)).map(str::to_owned)
    } else {
        // One underscore where two are needed is the likeliest slip, and the one that nothing else would tell.
        Some(variable_of(settable().find(|key| single(key) == *name)?))
    };
    let help = meant.map_or_else(
        || "branchline config show  lists the settings".into(),
        |meant| format!("did you mean  {meant}"),
    );
    let key = name.to_ascii_lowercase().replace("__", ".");
    Some(SettingsFault { key, message: "there is no such setting".into(), help: Some(help), place })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(variable: &str, text: &str) -> (RawSettings, Vec<SettingsFault>) {
        let mut faults = Vec::new();
        let values = read(&[(variable.to_owned(), text.to_owned())], &mut faults);
        (values, faults)
    }

    #[test]
    fn lists_are_taken_in_both_forms() {
        for text in ["orders, shop.items", "[\"orders\", 'shop.items']", " orders,shop.items, "] {
            let (values, faults) = read_one("BRANCHLINE_DATABASE__TABLES", text);
            assert!(faults.is_empty());
            let Content::List(items) = &values["database.tables"].content else { panic!("{text}") };
            assert_eq!(
                items.iter().map(|(item, _)| item.as_str()).collect::<Vec<_>>(),
                ["orders", "shop.items"]
            );
        }
    }

    #[test]
    fn a_variable_that_is_no_setting_is_a_fault_where_it_looks_like_one() {
        for (variable, meant) in [
            ("BRANCHLINE_LISTEN__ADRESS", "did you mean  BRANCHLINE_LISTEN__ADDRESS"),
            ("BRANCHLINE_SERVER_ID", "did you mean  BRANCHLINE_SERVER__ID"),
            ("BRANCHLINE_COLOUR__OF_THE_SKY", "branchline config show  lists the settings"),
        ] {
            let (values, faults) = read_one(variable, "x");
            assert!(values.is_empty());
            assert_eq!(faults[0].help.as_deref(), Some(meant));
        }
        for variable in ["BRANCHLINE_HOME", "BRANCHLINE_TEST_POSTGRES", "BRANCHLINE_PG_BIN", "PATH"] {
            assert_eq!(read_one(variable, "x"), (RawSettings::new(), Vec::new()), "{variable}");
        }
    }

    #[test]
    fn the_short_form_of_the_log_level_yields_to_the_long_one() {
        let mut faults = Vec::new();
        let both = [("BRANCHLINE_LOG", "warn"), ("BRANCHLINE_LOG__LEVEL", "debug")];
        for order in [both, [both[1], both[0]]] {
            let pairs = order.map(|(name, text)| (name.to_owned(), text.to_owned()));
            let values = read(&pairs, &mut faults);
            assert_eq!(values[LOG_LEVEL].content, Content::Text("debug".into()));
        }
    }
}

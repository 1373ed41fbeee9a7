//! What a measurement was taken on.

use std::fs;
use std::thread::available_parallelism;

use crate::failure::{Doing, Failure};

/// What Linux counts processor time in, on all platforms that it tells programs about.
const TICKS_PER_S: f64 = 100.0;

/// Cores, processor and memory, in one line.
pub(super) fn describe() -> String {
    let cores = available_parallelism().map_or(0, usize::from);
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "processor unknown".into());
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| kibibytes(&text))
        .map_or_else(|| "memory unknown".into(), |kib| format!("{} GiB", kib.div_ceil(1 << 20)));
    format!("{cores} cores, {processor}, {memory}")
}

/// The most memory that a process has held resident so far, in KiB.
pub(super) fn resident_peak_kib(process: u32) -> Option<u64> {
    kibibytes(&field(&format!("/proc/{process}/status"), "VmHWM")?)
}

/// The processor time that a process has taken so far, user and system, in seconds; it is counted in hundredths.
pub(super) fn processor_seconds(process: u32) -> Result<f64, Failure> {
    let file = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&file).doing(|| format!("read {file}"))?;
    ticks(&text)
        .map(|ticks| f64::from(ticks) / TICKS_PER_S)
        .ok_or_else(|| Failure::new(format!("{file} names no processor time")))
}

/// Fields 14 and 15 of `/proc/PID/stat`. The name, field 2, is in brackets and may hold spaces and brackets.
fn ticks(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{kibibytes, ticks};

    #[test]
    fn memory_is_read_in_kib_only() {
        assert_eq!(kibibytes("41216 kB"), Some(41_216));
        assert_eq!(kibibytes("41216"), None);
    }

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "812 (a) b (c) S 1 812 812 0 -1 4194560 2000 0 3 0 41 9 0 0 20 0 5 0 1234 5678 90 18446744073709551615";
        assert_eq!(ticks(stat), Some(50));
        assert_eq!(ticks("812"), None);
    }
}

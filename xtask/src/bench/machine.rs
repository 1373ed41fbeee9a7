//! What a measurement was taken on.

use std::fs;
use std::thread::available_parallelism;

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
    use super::kibibytes;

    #[test]
    fn memory_is_read_in_kib_only() {
        assert_eq!(kibibytes("41216 kB"), Some(41_216));
        assert_eq!(kibibytes("41216"), None);
    }
}

//! Compares sharing-bus with other channels in one run.
//!
//! `cargo bench -p sharing-bus-benches` measures everything and writes `results/`. Options follow `--`:
//!
//! - `--rounds N` sets the number of rounds.
//! - `--only TEXT` measures only the tables whose titles contain the text.
//! - `--workload TEXT` measures only the rows whose names contain the text.
//! - `--contender NAME` measures only this contender. The option may be repeated.
//! - `--quick` checks that the benches run. It is the default under `cargo test --benches`.
//!
//! A run that does not measure everything writes no files.
//!
//! Each round measures every contender once. The order rotates from round to round.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sharing_bus_benches::contenders::{
    Contender, LATENCY_THREADS, OnReceive, POLLED, Publisher, Setup, TASKS, THREADS,
};
use sharing_bus_benches::pace::{Pace, WINDOW};
use sharing_bus_benches::report::{Table, quantile, short};
use sharing_bus_benches::workload::Workload;
use tokio::runtime::Runtime;

fn main() {
    let options = Options::read();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("the runtime did not start");
    let bench = Bench { runtime, options };

    let tasks = bench.throughput("Tasks on tokio", TASKS, &tasks_workloads());
    let threads = bench.throughput("Blocking threads", THREADS, &threads_workloads());
    let polled = bench.throughput("Polled by one thread", POLLED, &polled_workloads());
    let publish = bench.publish();
    let stuck = bench.stuck_subscriber();
    let latencies = bench.latencies();
    let tables: Vec<&Table> = [&tasks, &threads, &polled, &publish].into_iter().flatten().collect();
    let mut text = String::new();
    for table in &tables {
        text.push_str(&table.markdown());
        text.push('\n');
    }
    text.extend(stuck);
    text.extend(latencies);
    if let (true, Some(tasks)) = (bench.options.writes_results(), &tasks) {
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        std::fs::create_dir_all(&results).expect("cannot create the results folder");
        std::fs::write(results.join("compare.md"), text).expect("cannot write the results");
        for (rows, file) in [("all match", "all.svg"), ("one matches", "one.svg")] {
            let chart = tasks.chart(&results.join(file), rows, "subscribers");
            chart.expect("cannot write the chart");
        }
    }
}

struct Options {
    quick: bool,
    rounds: usize,
    only: Option<String>,
    workload: Option<String>,
    contenders: Vec<String>,
}

impl Options {
    fn read() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let value_of = |name: &str| {
            let position = arguments.iter().position(|argument| argument == name)?;
            arguments.get(position + 1).cloned()
        };
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        let quick = has("--quick") || !has("--bench");
        let rounds = value_of("--rounds").and_then(|rounds| rounds.parse().ok());
        Options {
            quick,
            rounds: rounds.unwrap_or(if quick { 1 } else { 9 }),
            only: value_of("--only"),
            workload: value_of("--workload"),
            contenders: arguments
                .windows(2)
                .filter(|pair| pair[0] == "--contender")
                .map(|pair| pair[1].clone())
                .collect(),
        }
    }

    /// Returns the duration of one measurement.
    fn duration(&self) -> Duration {
        Duration::from_millis(if self.quick { 1 } else { 120 })
    }

    fn writes_results(&self) -> bool {
        !self.quick && self.only.is_none() && self.workload.is_none() && self.contenders.is_empty()
    }

    fn includes_table(&self, title: &str) -> bool {
        contains(&self.only, title)
    }

    fn includes_workload(&self, workload: &Workload) -> bool {
        contains(&self.workload, &workload.name) && (!self.quick || workload.filters.len() <= 128)
    }

    fn includes_contender(&self, contender: &Contender) -> bool {
        self.contenders.is_empty() || self.contenders.iter().any(|name| name == contender.name)
    }
}

/// Returns whether the name contains the text of an option. Returns true if the option is absent.
fn contains(text: &Option<String>, name: &str) -> bool {
    text.as_ref().is_none_or(|text| name.contains(text.as_str()))
}

/// One row of a table: a workload, and the contenders that are skipped because they need milliseconds per event.
struct Case {
    workload: Workload,
    skip: &'static [&'static str],
}

fn case(workload: Workload, skip: &'static [&'static str]) -> Case {
    Case { workload, skip }
}

fn all_match(subscribers: &[usize]) -> Vec<Case> {
    let workloads = subscribers.iter().map(|count| Workload::all_match(*count));
    workloads.map(|workload| case(workload, &[])).collect()
}

fn tasks_workloads() -> Vec<Case> {
    let mut cases = all_match(&[1, 8, 64, 512, 4096]);
    cases.extend([
        case(Workload::one_matches(128), &[]),
        case(Workload::one_matches(1024), &["async-broadcast"]),
        case(Workload::one_matches(16_384), &["async-broadcast", "tokio broadcast"]),
        case(Workload::typical_host(), &[]),
        case(Workload::all_match(8).published_by(4), &[]),
    ]);
    cases
}

fn threads_workloads() -> Vec<Case> {
    let mut cases = all_match(&[1, 8, 64]);
    cases.push(case(Workload::one_matches(128), &["bus"]));
    cases
}

fn polled_workloads() -> Vec<Case> {
    all_match(&[1, 8, 64, 512, 4096])
}

/// Sleep time of a publisher that follows a schedule. After each sleep, the publisher sends all events that are due.
const SLEEP: Duration = Duration::from_micros(100);

/// The schedule by which a latency measurement publishes its events.
struct Schedule {
    workload: Workload,
    /// Time between two events.
    interval: Duration,
    /// Maximum number of bursts in flight. A window of one lets every thread fall asleep before the next burst.
    window: usize,
}

/// The result of one measurement, in nanoseconds.
struct Times {
    per_delivery: f64,
    per_publish: f64,
}

struct Bench {
    runtime: Runtime,
    options: Options,
}

impl Bench {
    fn table(&self, title: &str, unit: &str, contenders: &[Contender]) -> Option<Table> {
        let names = contenders.iter().map(|contender| contender.name).collect();
        self.options
            .includes_table(title)
            .then(|| Table::new(title, unit, names))
    }

    fn throughput(&self, title: &str, contenders: &[Contender], cases: &[Case]) -> Option<Table> {
        let mut table = self.table(title, "ns per delivery", contenders)?;
        for case in cases
            .iter()
            .filter(|case| self.options.includes_workload(&case.workload))
        {
            table.row(&case.workload.name);
            self.rounds(contenders, case, |contender| {
                let times = self.measure(contender, &case.workload, false);
                table.add(contender.name, times.per_delivery);
            });
            eprintln!("{title}: {}", case.workload.name);
        }
        println!("{}", table.markdown());
        Some(table)
    }

    fn publish(&self) -> Option<Table> {
        let mut table = self.table("Publish only", "ns per publish", TASKS)?;
        let case = case(Workload::publish_only(), &[]);
        table.row("1 of 1024 events matches");
        self.rounds(TASKS, &case, |contender| {
            let times = self.measure(contender, &case.workload, false);
            table.add(contender.name, times.per_publish);
        });
        println!("{}", table.markdown());
        Some(table)
    }

    /// Measures how one subscriber that never receives affects 64 others.
    fn stuck_subscriber(&self) -> Option<String> {
        let title = "One stuck subscriber beside 64";
        if !self.options.includes_table(title) {
            return None;
        }
        let workload = Workload::all_match(64);
        let ours = &TASKS[0];
        let mut ratios = Vec::new();
        for round in 0..4 * self.options.rounds {
            let mut times = [0.0; 2];
            for offset in 0..2 {
                let stuck = (round + offset) % 2 == 1;
                times[usize::from(stuck)] = self.measure(ours, &workload, stuck).per_delivery;
            }
            ratios.push(times[1] / times[0]);
        }
        let text = format!(
            "**{title}**: the time per delivery of the 64 changes by {:+.1} % (quartiles {:+.1} to {:+.1} %)\n\n",
            percent(quantile(&ratios, 0.5)),
            percent(quantile(&ratios, 0.25)),
            percent(quantile(&ratios, 0.75)),
        );
        println!("{text}");
        Some(text)
    }

    fn latencies(&self) -> Vec<String> {
        [
            ("Idle latency, 1 task", TASKS, 1, false),
            ("Idle latency, 8 tasks", TASKS, 8, false),
            ("Idle latency, 1 thread", LATENCY_THREADS, 1, false),
            ("Latency under load, 8 tasks", TASKS, 8, true),
            ("Latency under load, 8 threads", LATENCY_THREADS, 8, true),
        ]
        .into_iter()
        .filter(|(title, ..)| self.options.includes_table(title))
        .map(|(title, contenders, subscribers, loaded)| self.latency(title, contenders, subscribers, loaded))
        .collect()
    }

    /// Measures the latency from just before `publish` to just after the receive, in microseconds.
    fn latency(&self, title: &str, contenders: &[Contender], subscribers: usize, loaded: bool) -> String {
        let contenders: Vec<&Contender> = contenders
            .iter()
            .filter(|contender| self.options.includes_contender(contender))
            .collect();
        let schedule = if loaded {
            self.under_load(&contenders, subscribers)
        } else {
            Schedule {
                workload: Workload::one_event(subscribers),
                interval: Duration::from_micros(200),
                window: 1,
            }
        };
        let mut samples: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
        for round in 0..self.options.rounds {
            for offset in 0..contenders.len() {
                let index = (round + offset) % contenders.len();
                samples[index].extend(self.sample(contenders[index], &schedule));
            }
        }
        let load = if loaded {
            format!(
                ", one event every {} µs",
                short(schedule.interval.as_nanos() as f64 / 1000.0)
            )
        } else {
            String::new()
        };
        let mut text = format!("**{title}** (µs{load})\n\n|  | p50 | p99 | p99.9 |\n|---|---:|---:|---:|\n");
        for (contender, samples) in contenders.iter().zip(&samples) {
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|fraction| short(quantile(samples, fraction)));
            text.push_str(&format!("| {} | {p50} | {p99} | {p999} |\n", contender.name));
        }
        text.push('\n');
        println!("{text}");
        text
    }

    /// Returns one schedule for all contenders, with half of the event rate that the slowest contender reaches.
    fn under_load(&self, contenders: &[&Contender], subscribers: usize) -> Schedule {
        let workload = Workload::all_match(subscribers);
        let per_event =
            |contender: &&Contender| self.measure(contender, &workload, false).per_delivery * subscribers as f64;
        let slowest = contenders.iter().map(per_event).fold(0.0, f64::max);
        Schedule {
            workload,
            interval: Duration::from_nanos(2 * slowest as u64),
            window: WINDOW,
        }
    }

    fn sample(&self, contender: &Contender, schedule: &Schedule) -> Vec<f64> {
        let Schedule {
            workload,
            interval,
            window,
        } = schedule;
        let samples = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&samples);
        let on_receive: OnReceive = Arc::new(move |published: Instant| {
            let latency = published.elapsed().as_nanos() as f64 / 1000.0;
            recorded.lock().unwrap().push(latency);
        });
        let pace = Arc::new(Pace::default());
        let mut running = (contender.start)(&Setup {
            runtime: &self.runtime,
            workload,
            pace: Arc::clone(&pace),
            on_receive: Some(on_receive),
            stuck: false,
        });
        pace.register_publisher();
        let started = Instant::now();
        let duration = if self.options.quick {
            self.options.duration()
        } else {
            2 * self.options.duration()
        };
        let (mut burst, mut due) = (0_usize, started);
        while started.elapsed() < duration {
            if let Some(earlier) = burst.checked_sub(*window) {
                pace.wait_for_burst(earlier);
            }
            for spec in &workload.burst {
                due += *interval;
                while Instant::now() < due {
                    thread::sleep(SLEEP);
                }
                running.publishers[0](spec);
            }
            burst += 1;
        }
        for last in burst.saturating_sub(WINDOW)..burst {
            pace.wait_for_burst(last);
        }
        running.end(&self.runtime);
        let samples = samples.lock().unwrap();
        samples.clone()
    }

    /// Measures each contender once per round. The order rotates from round to round.
    fn rounds(&self, contenders: &[Contender], case: &Case, mut measure: impl FnMut(&Contender)) {
        for round in 0..self.options.rounds {
            for offset in 0..contenders.len() {
                let contender = &contenders[(round + offset) % contenders.len()];
                if !case.skip.contains(&contender.name) && self.options.includes_contender(contender) {
                    measure(contender);
                }
            }
        }
    }

    fn measure(&self, contender: &Contender, workload: &Workload, stuck: bool) -> Times {
        let deliveries = workload.deliveries();
        let pace = Arc::new(Pace::default());
        let mut running = (contender.start)(&Setup {
            runtime: &self.runtime,
            workload,
            pace: Arc::clone(&pace),
            on_receive: None,
            stuck,
        });
        let mut run = Run {
            pace: &pace,
            workload,
            published: 0,
        };
        // Warms up, and estimates how many bursts fill the duration.
        let started = Instant::now();
        run.publish_bursts(&mut running.publishers, 2 * WINDOW);
        let per_burst = started.elapsed().as_secs_f64() / (2 * WINDOW) as f64;
        let count = ((self.options.duration().as_secs_f64() / per_burst) as usize).clamp(WINDOW, 100_000);
        let started = Instant::now();
        let publishing = run.publish_bursts(&mut running.publishers, count);
        let elapsed = started.elapsed();
        running.end(&self.runtime);
        Times {
            per_delivery: elapsed.as_nanos() as f64 / (count * deliveries) as f64,
            per_publish: publishing.as_nanos() as f64 / (count * workload.burst.len()) as f64,
        }
    }
}

fn percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}

/// The state of one measurement.
struct Run<'a> {
    pace: &'a Pace,
    workload: &'a Workload,
    /// Number of bursts published so far.
    published: usize,
}

impl Run<'_> {
    /// Publishes `count` bursts, whose events are divided among the publishers, and waits until all bursts are
    /// complete. Returns the average time that one publisher spent in `publish`.
    fn publish_bursts(&mut self, publishers: &mut [Publisher], count: usize) -> Duration {
        let (pace, workload) = (self.pace, self.workload);
        let bursts = self.published..self.published + count;
        self.published += count;
        let publisher_count = publishers.len();
        thread::scope(|scope| {
            let threads: Vec<_> = publishers
                .iter_mut()
                .enumerate()
                .map(|(index, publish)| {
                    let bursts = bursts.clone();
                    scope.spawn(move || {
                        pace.register_publisher();
                        let mut publishing = Duration::ZERO;
                        for burst in bursts.clone() {
                            if let Some(earlier) = burst.checked_sub(WINDOW) {
                                pace.wait_for_burst(earlier);
                            }
                            let started = Instant::now();
                            let events = workload.burst.iter().skip(index).step_by(publisher_count);
                            events.for_each(&mut *publish);
                            publishing += started.elapsed();
                        }
                        for last in bursts.end.saturating_sub(WINDOW)..bursts.end {
                            pace.wait_for_burst(last);
                        }
                        publishing
                    })
                })
                .collect();
            let times = threads
                .into_iter()
                .map(|thread| thread.join().expect("a publisher panicked"));
            times.sum::<Duration>() / publisher_count as u32
        })
    }
}

//! This bus beside its peers, in one run.
//!
//! `cargo bench -p sharing-bus-benches` measures everything and writes `results/`; `-- --rounds N` changes how often,
//! `-- --only WORDS` leaves out the tables without these words in their title, `--workload WORDS` the same for rows,
//! `--contender NAME` (any number of times) all others, and `-- --quick` (as under `cargo test --benches`) only shows that
//! it runs. Where not all is measured, nothing is written.
//!
//! A round measures each contender once, in turn who is first.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sharing_bus_benches::contenders::{Contender, LATENCY_THREADS, Observe, Publisher, SWEPT, Setup, TASKS, THREADS};
use sharing_bus_benches::pace::{Pace, WINDOW};
use sharing_bus_benches::report::{Table, quantile, short};
use sharing_bus_benches::workload::Workload;
use tokio::runtime::Runtime;

fn main() {
    let options = Options::read();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("the runtime starts");
    let bench = Bench { runtime, options };

    let tasks = bench.throughput("Tasks on tokio", TASKS, &tasks_workloads());
    let threads = bench.throughput("Threads that block", THREADS, &threads_workloads());
    let swept = bench.throughput("Swept by one thread", SWEPT, &swept_workloads());
    let publish = bench.publish();
    let slow = bench.slow_one();
    let latency = bench.latencies();
    let tables: Vec<&Table> = [&tasks, &threads, &swept, &publish].into_iter().flatten().collect();
    let mut text = String::new();
    for table in &tables {
        text.push_str(&table.markdown());
        text.push('\n');
    }
    text.extend(slow);
    text.extend(latency);
    if let (true, Some(tasks)) = (bench.options.writes(), &tasks) {
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        std::fs::create_dir_all(&results).expect("the folder can be made");
        std::fs::write(results.join("compare.md"), text).expect("the results can be written");
        for (rows, file) in [("all match", "all.svg"), ("one matches", "one.svg")] {
            let drawn = tasks.chart(&results.join(file), rows, "subscribers");
            drawn.expect("the chart can be written");
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
        let after = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).cloned()
        };
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        let quick = has("--quick") || !has("--bench");
        let rounds = after("--rounds").and_then(|rounds| rounds.parse().ok());
        Options {
            quick,
            rounds: rounds.unwrap_or(if quick { 1 } else { 9 }),
            only: after("--only"),
            workload: after("--workload"),
            contenders: arguments
                .windows(2)
                .filter(|pair| pair[0] == "--contender")
                .map(|pair| pair[1].clone())
                .collect(),
        }
    }

    fn span(&self) -> Duration {
        Duration::from_millis(if self.quick { 1 } else { 120 })
    }

    fn writes(&self) -> bool {
        !self.quick && self.only.is_none() && self.workload.is_none() && self.contenders.is_empty()
    }

    fn wants(&self, title: &str) -> bool {
        chosen(&self.only, title)
    }

    fn wants_workload(&self, workload: &Workload) -> bool {
        chosen(&self.workload, &workload.name) && (!self.quick || workload.wants.len() <= 128)
    }

    fn wants_contender(&self, contender: &Contender) -> bool {
        self.contenders.is_empty() || self.contenders.iter().any(|name| name == contender.name)
    }
}

fn chosen(words: &Option<String>, name: &str) -> bool {
    words.as_ref().is_none_or(|words| name.contains(words.as_str()))
}

/// What a contender is measured with, and up to how many subscribers: some cost milliseconds an event beyond.
struct Case {
    workload: Workload,
    skip: &'static [&'static str],
}

fn case(workload: Workload, skip: &'static [&'static str]) -> Case {
    Case { workload, skip }
}

fn everything(crowds: &[usize]) -> Vec<Case> {
    let cases = crowds.iter().map(|subscribers| Workload::everything(*subscribers));
    cases.map(|workload| case(workload, &[])).collect()
}

fn tasks_workloads() -> Vec<Case> {
    let mut cases = everything(&[1, 8, 64, 512, 4096]);
    cases.extend([
        case(Workload::one_of(128), &[]),
        case(Workload::one_of(1024), &["async-broadcast"]),
        case(Workload::one_of(16_384), &["async-broadcast", "tokio broadcast"]),
        // Who cannot bind late is given the scroll.
        case(Workload::host(), &[]),
        case(Workload::everything(8).published_by(4), &[]),
    ]);
    cases
}

fn threads_workloads() -> Vec<Case> {
    let mut cases = everything(&[1, 8, 64]);
    cases.push(case(Workload::one_of(128), &["bus"]));
    cases
}

fn swept_workloads() -> Vec<Case> {
    everything(&[1, 8, 64, 512, 4096])
}

/// What a publisher that keeps to a rhythm sleeps at once; then it sends all that is due, in a clump.
const NAP: Duration = Duration::from_micros(100);

/// How events follow each other where latency is measured.
struct Rhythm {
    workload: Workload,
    pause: Duration,
    /// Bursts that may be on the way; one, and everybody is asleep before the next.
    ahead: usize,
}

/// Nanoseconds of one measurement.
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
        self.options.wants(title).then(|| Table::new(title, unit, names))
    }

    fn throughput(&self, title: &str, contenders: &[Contender], cases: &[Case]) -> Option<Table> {
        let mut table = self.table(title, "ns per delivery", contenders)?;
        for case in cases.iter().filter(|case| self.options.wants_workload(&case.workload)) {
            table.row(&case.workload.name);
            self.rounds(contenders, case, |contender| {
                let times = self.measure(contender, &case.workload, false);
                table.measured(contender.name, times.per_delivery);
            });
            eprintln!("{}: {}", title, case.workload.name);
        }
        println!("{}", table.markdown());
        Some(table)
    }

    fn publish(&self) -> Option<Table> {
        let mut table = self.table("The call alone", "ns per publish", TASKS)?;
        let case = case(Workload::publish_alone(), &[]);
        table.row("publish, nobody asks");
        self.rounds(TASKS, &case, |contender| {
            let times = self.measure(contender, &case.workload, false);
            table.measured(contender.name, times.per_publish);
        });
        println!("{}", table.markdown());
        Some(table)
    }

    /// What one receiver that never receives costs the other 64.
    fn slow_one(&self) -> Option<String> {
        let title = "A stuck one among 64";
        if !self.options.wants(title) {
            return None;
        }
        let workload = Workload::everything(64);
        let ours = &TASKS[0];
        let mut ratios = Vec::new();
        for round in 0..4 * self.options.rounds {
            let mut times = [0.0; 2];
            for turn in 0..2 {
                let stuck = (round + turn) % 2 == 1;
                times[usize::from(stuck)] = self.measure(ours, &workload, stuck).per_delivery;
            }
            ratios.push(times[1] / times[0]);
        }
        let text = format!(
            "**{title}** costs the others {:+.1} % (quartiles {:+.1} to {:+.1} %)\n\n",
            percent(quantile(&ratios, 0.5)),
            percent(quantile(&ratios, 0.25)),
            percent(quantile(&ratios, 0.75)),
        );
        println!("{text}");
        Some(text)
    }

    fn latencies(&self) -> Vec<String> {
        [
            ("Idle latency to a task", TASKS, 1, false),
            ("Idle latency to 8 tasks", TASKS, 8, false),
            ("Idle latency to a thread", LATENCY_THREADS, 1, false),
            ("Latency under load to 8 tasks", TASKS, 8, true),
            ("Latency under load to 8 threads", LATENCY_THREADS, 8, true),
        ]
        .into_iter()
        .filter(|(title, ..)| self.options.wants(title))
        .map(|(title, contenders, subscribers, loaded)| self.latency(title, contenders, subscribers, loaded))
        .collect()
    }

    /// Publish to receive, in microseconds.
    fn latency(&self, title: &str, contenders: &[Contender], subscribers: usize, loaded: bool) -> String {
        let contenders: Vec<&Contender> = contenders
            .iter()
            .filter(|contender| self.options.wants_contender(contender))
            .collect();
        let rhythm = if loaded {
            self.under_load(&contenders, subscribers)
        } else {
            Rhythm {
                workload: Workload::one_event(subscribers),
                pause: Duration::from_micros(200),
                ahead: 1,
            }
        };
        let mut samples: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
        for round in 0..self.options.rounds {
            for turn in 0..contenders.len() {
                let index = (round + turn) % contenders.len();
                samples[index].extend(self.sample(contenders[index], &rhythm));
            }
        }
        let load = if loaded {
            format!(", an event every {} µs", short(rhythm.pause.as_nanos() as f64 / 1000.0))
        } else {
            String::new()
        };
        let mut text = format!("**{title}** (µs{load})\n\n|  | p50 | p99 | p99.9 |\n|---|---:|---:|---:|\n");
        for (contender, samples) in contenders.iter().zip(&samples) {
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| short(quantile(samples, part)));
            text.push_str(&format!("| {} | {p50} | {p99} | {p999} |\n", contender.name));
        }
        text.push('\n');
        println!("{text}");
        text
    }

    /// The same rhythm for all: half of the rate that the slowest of them keeps up with.
    fn under_load(&self, contenders: &[&Contender], subscribers: usize) -> Rhythm {
        let workload = Workload::everything(subscribers);
        let event =
            |contender: &&Contender| self.measure(contender, &workload, false).per_delivery * subscribers as f64;
        let slowest = contenders.iter().map(event).fold(0.0, f64::max);
        Rhythm {
            workload,
            pause: Duration::from_nanos(2 * slowest as u64),
            ahead: WINDOW,
        }
    }

    fn sample(&self, contender: &Contender, rhythm: &Rhythm) -> Vec<f64> {
        let Rhythm { workload, pause, ahead } = rhythm;
        let samples = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&samples);
        let observe: Observe = Arc::new(move |published: Instant| {
            let latency = published.elapsed().as_nanos() as f64 / 1000.0;
            seen.lock().unwrap().push(latency);
        });
        let pace = Arc::new(Pace::default());
        let mut running = (contender.start)(&Setup {
            runtime: &self.runtime,
            workload,
            pace: Arc::clone(&pace),
            observe: Some(observe),
            stuck: false,
        });
        pace.publish_from_here();
        let begun = Instant::now();
        let span = if self.options.quick {
            self.options.span()
        } else {
            2 * self.options.span()
        };
        let (mut burst, mut due) = (0_usize, begun);
        while begun.elapsed() < span {
            if let Some(before) = burst.checked_sub(*ahead) {
                pace.wait_for(before);
            }
            for sent in &workload.burst {
                due += *pause;
                while Instant::now() < due {
                    thread::sleep(NAP);
                }
                running.publishers[0](sent);
            }
            burst += 1;
        }
        for last in burst.saturating_sub(WINDOW)..burst {
            pace.wait_for(last);
        }
        running.end(&self.runtime);
        let samples = samples.lock().unwrap();
        samples.clone()
    }

    /// Measures each contender once a round, in turn who is first.
    fn rounds(&self, contenders: &[Contender], case: &Case, mut measure: impl FnMut(&Contender)) {
        for round in 0..self.options.rounds {
            for turn in 0..contenders.len() {
                let contender = &contenders[(round + turn) % contenders.len()];
                if !case.skip.contains(&contender.name) && self.options.wants_contender(contender) {
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
            observe: None,
            stuck,
        });
        let mut run = Run {
            pace: &pace,
            workload,
            sent: 0,
        };
        // Warm up, and see how many bursts fill the span.
        let begun = Instant::now();
        run.bursts(&mut running.publishers, 2 * WINDOW);
        let each = begun.elapsed().as_secs_f64() / (2 * WINDOW) as f64;
        let count = ((self.options.span().as_secs_f64() / each) as usize).clamp(WINDOW, 100_000);
        let begun = Instant::now();
        let publishing = run.bursts(&mut running.publishers, count);
        let elapsed = begun.elapsed();
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

/// A running measurement's place in its bursts.
struct Run<'a> {
    pace: &'a Pace,
    workload: &'a Workload,
    sent: usize,
}

impl Run<'_> {
    /// Publishes so many bursts, each publisher its part, and waits for all of them. Returns the time that one publisher
    /// spent in `publish`.
    fn bursts(&mut self, publishers: &mut [Publisher], count: usize) -> Duration {
        let (pace, workload) = (self.pace, self.workload);
        let bursts = self.sent..self.sent + count;
        self.sent += count;
        let parts = publishers.len();
        thread::scope(|scope| {
            let threads: Vec<_> = publishers
                .iter_mut()
                .enumerate()
                .map(|(part, publish)| {
                    let bursts = bursts.clone();
                    scope.spawn(move || {
                        pace.publish_from_here();
                        let mut publishing = Duration::ZERO;
                        for burst in bursts.clone() {
                            if let Some(before) = burst.checked_sub(WINDOW) {
                                pace.wait_for(before);
                            }
                            let begun = Instant::now();
                            workload.burst.iter().skip(part).step_by(parts).for_each(&mut *publish);
                            publishing += begun.elapsed();
                        }
                        for last in bursts.end.saturating_sub(WINDOW)..bursts.end {
                            pace.wait_for(last);
                        }
                        publishing
                    })
                })
                .collect();
            let times = threads
                .into_iter()
                .map(|thread| thread.join().expect("a publisher got through"));
            times.sum::<Duration>() / parts as u32
        })
    }
}

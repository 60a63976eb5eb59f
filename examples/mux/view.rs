//! The console view. It prints each event as one line, prefixed with the colored connector name and the scroll id.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use console::{Color, Style};
use serde_json::Value;
use sharing_bus::{BusReceiver, Delivery, EventKind};
use sharing_bus_example_sessions::{Bus, Record};

use crate::progress::Progress;
use crate::summary::Tally;

/// Maximum number of lines printed at once.
const BATCH: usize = 256;

const COLORS: [Color; 6] = [
    Color::Cyan,
    Color::Green,
    Color::Yellow,
    Color::Magenta,
    Color::Blue,
    Color::Red,
];

/// Prints events until the bus closes. If standard output is closed, this function closes the bus to end the program.
pub(crate) fn show(mut receiver: BusReceiver<Record>, bus: &Bus, progress: &Progress) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut prefixes = Prefixes::default();
    let mut batch = Vec::with_capacity(BATCH);
    let mut text = Vec::new();
    while receiver.recv_many(&mut batch, BATCH) > 0 {
        for delivery in batch.drain(..) {
            tally.count(&delivery);
            write_line(&mut text, &mut prefixes, &delivery)?;
        }
        let printed = progress.suspend(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&text).and_then(|()| stdout.flush())
        });
        if let Err(error) = printed {
            bus.close();
            return Err(error);
        }
        text.clear();
    }
    Ok(tally.finish(&receiver))
}

fn write_line(text: &mut Vec<u8>, prefixes: &mut Prefixes, delivery: &Delivery<Record>) -> io::Result<()> {
    if delivery.missed() > 0 {
        writeln!(text, "... {} missed here", delivery.missed())?;
    }
    // The first 8 digits of the scroll id, or dashes if the event is not bound.
    let scroll = match delivery.routing.scroll_id {
        Some(id) => id.simple().to_string()[..8].to_owned(),
        None => "--------".to_owned(),
    };
    let prefix = prefixes.styled(&delivery.event.connector_id);
    let content = content(&delivery.event);
    let content = match delivery.routing.kind {
        EventKind::Output | EventKind::Message => content,
        EventKind::Error => Style::new().red().apply_to(content).to_string(),
        _ => Style::new().dim().apply_to(content).to_string(),
    };
    writeln!(text, "{prefix} {scroll} | {content}")
}

/// Returns the line that a command wrote, or the kind and payload of any other record.
fn content(record: &Record) -> String {
    match (&record.payload, record.payload.get("text")) {
        (_, Some(Value::String(line))) => line.clone(),
        (Value::Null, _) => record.kind.clone(),
        (payload, _) => format!("{} {payload}", record.kind),
    }
}

/// The prefixes of the lines. Each new connector gets the next color. All names are padded to the longest one so far.
#[derive(Default)]
struct Prefixes {
    styles: HashMap<Arc<str>, Style>,
    width: usize,
}

impl Prefixes {
    fn styled(&mut self, connector_id: &Arc<str>) -> String {
        let next = COLORS[self.styles.len() % COLORS.len()];
        let style = self
            .styles
            .entry(Arc::clone(connector_id))
            .or_insert_with(|| Style::new().fg(next));
        self.width = self.width.max(connector_id.chars().count());
        style.apply_to(format!("{connector_id:0$}", self.width)).to_string()
    }
}

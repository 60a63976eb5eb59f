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
pub(crate) fn show(receiver: BusReceiver<Record>, bus: &Bus, progress: &Progress) -> io::Result<Tally> {
    let print = |text: &[u8]| {
        progress.suspend(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(text).and_then(|()| stdout.flush())
        })
    };
    show_with(receiver, print).inspect_err(|_| {
        bus.close();
    })
}

fn show_with(mut receiver: BusReceiver<Record>, mut print: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut prefixes = Prefixes::default();
    let mut batch = Vec::with_capacity(BATCH);
    let mut text = Vec::new();
    while receiver.recv_many(&mut batch, BATCH) > 0 {
        for delivery in batch.drain(..) {
            tally.count(&delivery);
            write_line(&mut text, &mut prefixes, &delivery)?;
        }
        print(&text)?;
        text.clear();
    }
    // No delivery follows the last gap, so no delivery reports it.
    write_gap(&mut text, tally.missed_at_end(&receiver), "at the end")?;
    print(&text)?;
    Ok(tally.finish(&receiver))
}

/// Writes a line about events that were lost, if there are any.
fn write_gap(text: &mut Vec<u8>, missed: u64, place: &str) -> io::Result<()> {
    if missed == 0 {
        return Ok(());
    }
    writeln!(text, "... {missed} missed {place}")
}

fn write_line(text: &mut Vec<u8>, prefixes: &mut Prefixes, delivery: &Delivery<Record>) -> io::Result<()> {
    write_gap(text, delivery.missed(), "here")?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use sharing_bus::{BusEvent, EventRouting};

    #[test]
    fn gaps_are_shown_where_they_are_even_after_the_last_event() {
        let bus: Bus = Bus::new();
        let receiver = bus.subscription().queue_capacity(2).subscribe();
        for number in 0..5 {
            let line = format!(r#"{{"ts":"t","connector_id":"c","native_session_id":null,"kind":"k{number}"}}"#);
            let record = serde_json::from_str(&line).unwrap();
            bus.publish(BusEvent::new(EventRouting::default(), record)).unwrap();
        }
        bus.shutdown();
        let mut shown = Vec::new();
        let print = |text: &[u8]| {
            shown.extend_from_slice(text);
            Ok(())
        };
        let tally = show_with(receiver, print).unwrap();
        assert_eq!((tally.received(), tally.missed()), (2, 3));
        let shown = String::from_utf8(shown).unwrap();
        assert_eq!(shown.lines().count(), 3);
        assert!(shown.ends_with("... 3 missed at the end\n"), "{shown}");
    }
}

//! The `Display` form of [`BusStats`]: the totals, then a table of the subscribers.
//!
//! This file formats plain values without shared state or synchronization. Widths are counted in `char`s.

use std::fmt::{self, Write};

use crate::stats::{BusStats, SubscriberStats};

/// Maximum widths of a label and a filter, in `char`s. The alternate form ignores them.
const LABEL_WIDTH: usize = 24;
const FILTER_WIDTH: usize = 40;

const COLUMNS: usize = 7;
type Row = [String; COLUMNS];

/// Columns that are aligned right because they contain numbers. The others contain names.
const ALIGNED_RIGHT: [bool; COLUMNS] = [true, false, false, true, true, true, true];

/// Formats the totals in several lines, and then the subscriptions as a table.
///
/// Long labels and filters are truncated; the alternate form `{:#}` prints them in full. Control characters in labels
/// and filters are escaped. The column `queued` shows `2/2+5` for a full queue of two events with five more events that
/// wait for space. It shows `-` for a subscription that forwards into a channel of the host. The column `lagged` shows
/// `7 (2)` for seven lost events, two of them essential.
///
/// ```
/// use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
///
/// let bus = SharingBus::new();
/// let view = bus.subscription().label("view").queue_capacity(1).subscribe();
/// let errors = bus.subscribe_filtered(EventFilter::Kind(EventKind::Error), 16);
/// for _ in 0..3 {
///     bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
/// }
/// bus.flush();
///
/// assert_eq!(
///     bus.stats().to_string(),
///     "\
/// events       3 published, 3 dispatched, 0 of 1024 in the ingress
/// deliveries   1 delivered, 2 lagged, 0 merged; 0 events unmatched
/// subscribers  2 listed, 0 reaped, 0 failed
/// sessions     0 bound, 0 evicted
/// panics       0 of filters, 0 of payloads
///
/// id  label  filter      queued  delivered  lagged  merged
///  1  view   *              1/1          1       2       0
///  2  -      kind=error    0/16          0       0       0"
/// );
/// # drop((view, errors));
/// ```
impl fmt::Display for BusStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_totals(self, f)?;
        if self.subscribers.is_empty() {
            return Ok(());
        }
        let full = f.alternate();
        let rows: Vec<Row> = std::iter::once(header())
            .chain(self.subscribers.iter().map(|subscriber| row(subscriber, full)))
            .collect();
        f.write_char('\n')?;
        write_rows(&rows, f)
    }
}

fn write_totals(stats: &BusStats, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "events       {} published, {} dispatched, {} of {} in the ingress",
        stats.published, stats.dispatched, stats.ingress_depth, stats.ingress_capacity
    )?;
    writeln!(
        f,
        "deliveries   {} delivered, {} lagged, {} merged; {} events unmatched",
        stats.delivered, stats.lagged, stats.merged, stats.unmatched
    )?;
    let listed = stats.subscribers.len();
    writeln!(
        f,
        "subscribers  {listed} listed, {} reaped, {} failed",
        stats.reaped, stats.failed
    )?;
    writeln!(
        f,
        "sessions     {} bound, {} evicted",
        stats.sessions, stats.sessions_evicted
    )?;
    write!(
        f,
        "panics       {} of filters, {} of payloads",
        stats.filter_panics, stats.payload_panics
    )
}

fn header() -> Row {
    ["id", "label", "filter", "queued", "delivered", "lagged", "merged"].map(str::to_owned)
}

fn row(subscriber: &SubscriberStats, full: bool) -> Row {
    let width = |limit| if full { usize::MAX } else { limit };
    let queued = match subscriber.capacity {
        0 => "-".to_owned(),
        capacity if subscriber.pending > 0 => format!("{}/{capacity}+{}", subscriber.queued, subscriber.pending),
        capacity => format!("{}/{capacity}", subscriber.queued),
    };
    let lagged = match subscriber.lagged_essential {
        0 => subscriber.lagged.to_string(),
        essential => format!("{} ({essential})", subscriber.lagged),
    };
    [
        subscriber.id.to_string(),
        cell(subscriber.label.as_deref().unwrap_or("-"), width(LABEL_WIDTH)),
        cell(&subscriber.filter, width(FILTER_WIDTH)),
        queued,
        subscriber.delivered.to_string(),
        lagged,
        subscriber.merged.to_string(),
    ]
}

/// Returns the text on one line, at most `width` chars wide. An ellipsis replaces the truncated end.
fn cell(text: &str, width: usize) -> String {
    let mut cell = String::new();
    for c in text.chars() {
        if c.is_control() {
            cell.extend(c.escape_default());
        } else {
            cell.push(c);
        }
    }
    if let Some((end, _)) = cell.char_indices().nth(width) {
        let (last, _) = cell[..end].char_indices().next_back().unwrap_or_default();
        cell.truncate(last);
        cell.push('…');
    }
    cell
}

fn write_rows(rows: &[Row], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let before = if column == 0 { "\n" } else { "  " };
            if ALIGNED_RIGHT[column] {
                write!(f, "{before}{cell:>width$}")?;
            } else {
                write!(f, "{before}{cell:<width$}")?;
            }
        }
    }
    Ok(())
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;
    use crate::subscribers::id::SubscriberId;

    fn subscriber(id: u64, label: Option<&str>, filter: &str, capacity: usize) -> SubscriberStats {
        SubscriberStats {
            id: SubscriberId::new(id),
            label: label.map(Into::into),
            filter: filter.to_owned(),
            queued: capacity as u64 / 2,
            capacity,
            delivered: 1000 * id,
            lagged: id,
            lagged_essential: if id == 20 { 4 } else { 0 },
            merged: 2 * id,
            pending: if id == 20 { 3 } else { 0 },
        }
    }

    fn stats(subscribers: Vec<SubscriberStats>) -> BusStats {
        BusStats {
            published: 12,
            dispatched: 11,
            delivered: 10,
            lagged: 9,
            merged: 4,
            unmatched: 8,
            reaped: 7,
            failed: 1,
            filter_panics: 6,
            payload_panics: 5,
            ingress_depth: 1,
            ingress_capacity: 4,
            sessions: 3,
            sessions_evicted: 2,
            subscribers,
        }
    }

    const TOTALS: &str = "\
events       12 published, 11 dispatched, 1 of 4 in the ingress
deliveries   10 delivered, 9 lagged, 4 merged; 8 events unmatched";

    #[test]
    fn stats_without_subscribers_print_only_the_totals() {
        let rest = "
subscribers  0 listed, 7 reaped, 1 failed
sessions     3 bound, 2 evicted
panics       6 of filters, 5 of payloads";
        assert_eq!(stats(Vec::new()).to_string(), format!("{TOTALS}{rest}"));
        assert_eq!(format!("{:#}", stats(Vec::new())), format!("{TOTALS}{rest}"));
    }

    fn three_subscribers() -> BusStats {
        let long = format!("any({})", "connector=é, ".repeat(4));
        stats(vec![
            subscriber(1, Some("größe"), "*", 256),
            subscriber(20, None, &long, 2),
            subscriber(300, Some("two\nlines and a label that is long"), "kind=tool", 0),
        ])
    }

    #[test]
    fn rows_are_aligned_by_chars_and_long_names_are_truncated() {
        let rest = "
subscribers  3 listed, 7 reaped, 1 failed
sessions     3 bound, 2 evicted
panics       6 of filters, 5 of payloads

 id  label                     filter                                     queued  delivered  lagged  merged
  1  größe                     *                                         128/256       1000       1       2
 20  -                         any(connector=é, connector=é, connector…    1/2+3      20000  20 (4)      40
300  two\\nlines and a label …  kind=tool                                       -     300000     300     600";
        assert_eq!(three_subscribers().to_string(), format!("{TOTALS}{rest}"));
    }

    #[test]
    fn the_alternate_form_truncates_nothing() {
        let text = format!("{:#}", three_subscribers());
        assert!(
            text.contains("any(connector=é, connector=é, connector=é, connector=é, )"),
            "{text}"
        );
        assert!(
            text.contains("two\\nlines and a label that is long  kind=tool"),
            "{text}"
        );
    }

    #[test]
    fn a_cell_is_truncated_only_if_it_is_too_wide() {
        assert_eq!(cell("äöü", 3), "äöü");
        assert_eq!(cell("äöüß", 3), "äö…");
        assert_eq!(cell("\u{7}", 3), "\\u…");
        assert_eq!(cell("", 3), "");
    }
}

//! Courses drawn as SVG paths. No colours and no text here: the style sheet has the first, the page the second.

use std::fmt::Write as _;

use super::super::course::Point;
use crate::setting::short;

/// The drawing's own units; it is stretched to the width there is.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 200.0;
const LANE: f64 = 20.0;
/// Points drawn at most: more than pixels nobody sees.
const DRAWN: usize = 180;
/// Steps longer than so many usual ones are holes.
const HOLE: i64 = 4;

/// One metric's points, thinned out so that what strays furthest stays.
pub(super) struct Course {
    points: Vec<Point>,
    longest_step: i64,
    threshold: f64,
}

impl Course {
    /// The course to be drawn; a point whose score is over `threshold` is anomalous.
    pub(super) fn new(points: &[Point], threshold: f64) -> Self {
        let stride = points.len().div_ceil(DRAWN).max(1);
        let furthest = |chunk: &[Point]| chunk.iter().max_by(|a, b| stray(a).total_cmp(&stray(b))).copied();
        let points: Vec<Point> = points.chunks(stride).filter_map(furthest).collect();
        let mut steps: Vec<i64> = points.windows(2).map(|p| p[1].at.millis() - p[0].at.millis()).collect();
        steps.sort_unstable();
        let usual = steps.get(steps.len() / 2).copied().unwrap_or(1).max(1);
        Self { points, longest_step: usual * HOLE, threshold }
    }

    /// Whether there is anything to see.
    pub(super) fn is_empty(&self) -> bool {
        self.points.iter().filter(|point| point.value.is_some()).count() < 2
    }

    /// First and last time, Unix milliseconds.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        Some((self.points.first()?.at.millis(), self.points.last()?.at.millis()))
    }

    /// Whether a point is drawn as an anomaly.
    pub(super) fn anomalies(&self) -> usize {
        self.points.iter().filter(|point| self.is_hot(point)).count()
    }

    fn is_hot(&self, point: &Point) -> bool {
        point.firing || point.score.is_some_and(|score| score > self.threshold)
    }

    fn x(&self, at: i64) -> i64 {
        let (from, to) = self.span().unwrap_or((0, 1));
        ((at - from) as f64 / (to - from).max(1) as f64 * WIDTH).round() as i64
    }

    /// Lowest and highest of values and band.
    pub(super) fn range(&self) -> (f64, f64) {
        let values = self.points.iter().filter_map(|point| point.value);
        let bands = self.points.iter().filter_map(|point| point.band).flat_map(|b| [b.lower, b.upper]);
        let (low, high) = values.chain(bands).fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        if low > high { (0.0, 1.0) } else { (low, high) }
    }

    /// Value, band and anomalies. `label` says the same in words.
    pub(super) fn draw(&self, label: &str, out: &mut String) {
        let (low, high) = self.range();
        let reach = (high - low).max(1e-9);
        // Room for the line's width at both ends.
        let y = |value: f64| (HEIGHT - 8.0 - (value - low) / reach * (HEIGHT - 16.0)).round() as i64;
        let _ = write!(
            out,
            "<svg class=\"course\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{label}\">"
        );
        self.band(&y, out);
        self.spans(out);
        self.line("expected", out, |point| point.band.map(|band| y(band.expected)));
        self.line("value", out, |point| point.value.map(&y));
        self.line("hot", out, |point| point.value.filter(|_| self.is_hot(point)).map(&y));
        out.push_str("</svg>");
    }

    fn line(&self, class: &str, out: &mut String, y: impl Fn(&Point) -> Option<i64>) {
        let _ = write!(out, "<path class=\"{class}\" d=\"");
        let mut before: Option<i64> = None;
        for point in &self.points {
            let at = point.at.millis();
            let Some(y) = y(point) else {
                before = None;
                continue;
            };
            let is_next = before.is_some_and(|before| at - before <= self.longest_step);
            let _ = write!(out, "{}{} {y}", if is_next { 'L' } else { 'M' }, self.x(at));
            before = Some(at);
        }
        out.push_str("\"/>");
    }

    fn band(&self, y: &impl Fn(f64) -> i64, out: &mut String) {
        out.push_str("<path class=\"band\" d=\"");
        for stretch in self.points.split(|point| point.band.is_none()).filter(|s| !s.is_empty()) {
            let edge = |point: &Point, of: fn(&crate::detect::verdict::Band) -> f64| {
                (self.x(point.at.millis()), y(point.band.as_ref().map_or(0.0, of)))
            };
            let above = stretch.iter().map(|point| edge(point, |band| band.upper));
            let below = stretch.iter().rev().map(|point| edge(point, |band| band.lower));
            for (at, (x, y)) in above.chain(below).enumerate() {
                let _ = write!(out, "{}{x} {y}", if at == 0 { 'M' } else { 'L' });
            }
            out.push('Z');
        }
        out.push_str("\"/>");
    }

    /// Where incidents fired.
    fn spans(&self, out: &mut String) {
        out.push_str("<path class=\"span\" d=\"");
        for stretch in self.points.split(|point| !point.firing) {
            if let (Some(first), Some(last)) = (stretch.first(), stretch.last()) {
                let (from, to) = (self.x(first.at.millis()), self.x(last.at.millis()));
                let _ = write!(out, "M{from} 0H{}V{HEIGHT}H{from}Z", to.max(from + 3));
            }
        }
        out.push_str("\"/>");
    }

    /// Confidences, or scores, between 0 and 1, with a line at `line`; above it they are drawn as votes.
    pub(super) fn lane(&self, line: f64, out: &mut String, read: impl Fn(&Point) -> Option<f64>) {
        let _ = write!(
            out,
            "<svg class=\"lane\" viewBox=\"0 0 {WIDTH} {LANE}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
        );
        let y = |level: f64| (LANE - level.clamp(0.0, 1.0) * LANE).round() as i64;
        self.steps("fill", out, &y, &read);
        self.steps("vote", out, &y, |point| read(point).filter(|level| *level >= line));
        let _ = write!(out, "<path class=\"line\" d=\"M0 {0}H{WIDTH}\"/></svg>", y(line));
    }

    /// Steps from the ground, where there is anything above it; equal ones in one stroke.
    fn steps(
        &self,
        class: &str,
        out: &mut String,
        y: &impl Fn(f64) -> i64,
        read: impl Fn(&Point) -> Option<f64>,
    ) {
        let ground = LANE as i64;
        let mut height = ground;
        let mut path = String::new();
        for point in &self.points {
            let next = read(point).map_or(ground, y);
            if next == height {
                continue;
            }
            let x = self.x(point.at.millis());
            let _ = if path.is_empty() {
                write!(path, "M{x} {ground}V{next}")
            } else {
                write!(path, "H{x}V{next}")
            };
            height = next;
        }
        if path.is_empty() {
            return;
        }
        let _ = write!(out, "<path class=\"{class}\" d=\"{path}H{WIDTH}V{ground}Z\"/>");
    }
}

/// How much a point must not be left out.
fn stray(point: &Point) -> f64 {
    let Some(value) = point.value else { return -1.0 };
    let of_band = |band: crate::detect::verdict::Band| {
        (value - band.expected).abs() / (band.upper - band.lower).abs().max(1e-9)
    };
    f64::from(u8::from(point.firing)) + point.band.map_or(0.0, of_band)
}

/// `12–31 %`.
pub(super) fn between(low: f64, high: f64, unit: &str) -> String {
    format!("{}–{}{}{unit}", short(low), short(high), if unit.is_empty() { "" } else { " " })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::verdict::Band;
    use crate::series::Timestamp;

    fn point(at: i64, value: Option<f64>) -> Point {
        let band = Some(Band { expected: 5.0, lower: 0.0, upper: 10.0 });
        Point {
            at: Timestamp::from_millis(at * 1000),
            value,
            band,
            score: Some(0.1),
            confidences: [Some(0.0), None, Some(0.9), None],
            firing: false,
        }
    }

    #[test]
    fn a_missing_value_and_a_long_step_break_the_line() {
        let mut points: Vec<Point> = (0..10).map(|at| point(at, Some(5.0))).collect();
        points[3].value = None;
        points.push(point(40, Some(5.0)));
        let mut out = String::new();
        Course::new(&points, 0.6).draw("x", &mut out);
        let value = out.split("class=\"value\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(value.matches('M').count(), 3, "{value}");
    }

    #[test]
    fn a_spike_survives_thinning() {
        let mut points: Vec<Point> = (0..700).map(|at| point(at, Some(5.0))).collect();
        points[351].value = Some(500.0);
        points[351].firing = true;
        let course = Course::new(&points, 0.6);
        assert!(course.points.len() <= DRAWN);
        assert_eq!(course.range().1, 500.0);
        assert_eq!(course.anomalies(), 1);
    }

    #[test]
    fn nothing_is_drawn_of_nothing_without_falling_over() {
        for points in [vec![], vec![point(1, None)], vec![point(1, Some(f64::MAX)), point(1, Some(f64::MIN))]]
        {
            let course = Course::new(&points, 0.6);
            let mut out = String::new();
            course.draw("x", &mut out);
            course.lane(0.5, &mut out, |point| point.confidences[2]);
            assert!(out.ends_with("</svg>"));
        }
    }
}

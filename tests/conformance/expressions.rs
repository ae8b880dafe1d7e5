//! What is asked: expressions picked by hand, one for each turn of the language, and random ones.

use rand_core::Rng;

#[expect(clippy::too_many_lines, reason = "a list")]
/// `$T` stands for an instant within the data.
pub fn picked() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for function in ["rate", "irate", "increase", "delta", "idelta", "changes", "resets"] {
        for range in ["20s", "45s", "1m", "5m"] {
            all.push(format!("{function}(c_total[{range}])"));
            all.push(format!("{function}(g[{range}] offset 90s)"));
        }
    }
    for function in ["avg", "min", "max", "sum", "count", "stddev", "stdvar", "last"] {
        for series in ["g", "h", "c_total"] {
            all.push(format!("{function}_over_time({series}[2m])"));
        }
    }
    for q in ["0", "0.3", "0.5", "0.99", "1", "-1", "2"] {
        all.push(format!("quantile_over_time({q}, g[3m])"));
        all.push(format!("quantile({q}, g)"));
    }
    for op in ["+", "-", "*", "/", "%", "^", "==", "!=", "<", "<=", ">", ">="] {
        all.push(format!("g {op} 3"));
        all.push(format!("3 {op} g"));
        all.push(format!("g {op} on(instance) c_total"));
        all.push(format!("g {op} ignoring(zone) h"));
        all.push(format!("g {op} on(zone) group_left single"));
        all.push(format!("single {op} on(zone) group_right(instance) g"));
    }
    for op in ["==", "!=", "<", "<=", ">", ">="] {
        all.push(format!("g {op} bool 3"));
        all.push(format!("g {op} bool on(instance) h"));
        all.push(format!("2 {op} bool 3"));
    }
    for op in ["and", "or", "unless"] {
        all.push(format!("g {op} h"));
        all.push(format!("g {op} on(instance) single"));
        all.push(format!("(g > 0) {op} ignoring(zone) (h > 0)"));
    }
    for aggregation in ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"] {
        for grouping in
            ["", " by (zone)", " by (instance)", " without (instance)", " without (zone, instance)"]
        {
            all.push(format!("{aggregation}{grouping} (g)"));
        }
        all.push(format!("{aggregation}(h)"));
        all.push(format!("{aggregation}(rate(c_total[1m]))"));
    }
    for function in
        ["abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "round", "timestamp"]
    {
        all.push(format!("{function}(g)"));
    }
    for function in ["sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "deg", "rad"] {
        all.push(format!("{function}(g / 16)"));
    }
    for function in ["asin", "acos", "atanh"] {
        all.push(format!("{function}(g / 256)"));
        all.push(format!("{function}(g)"));
    }
    for part in
        ["minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"]
    {
        all.push(format!("{part}()"));
        all.push(format!("{part}(timestamp(g) + g * 1e7)"));
        all.push(format!("{part}(h * 1e6)"));
        all.push(format!("{part}(g * 1e18)"));
        all.push(format!("{part}(vector(time() offset_by))").replace(" offset_by", " - 1e10"));
    }
    for (function, after) in [
        ("deriv", ""),
        ("predict_linear", ", 600"),
        ("predict_linear", ", -60.5"),
        ("holt_winters", ", 0.3, 0.6"),
        ("present_over_time", ""),
        ("last_over_time", ""),
    ] {
        for range in ["g[45s]", "g[5m]", "h[3m] offset 1m", "c_total[2m]", "single[30s]", "missing[5m]"] {
            all.push(format!("{function}({range}{after})"));
        }
    }
    for k in ["0", "1", "2", "3", "-1", "100", "scalar(single)", "NaN", "1.9"] {
        all.push(format!("topk({k}, g)"));
        all.push(format!("bottomk by (zone) ({k}, h)"));
        all.push(format!("topk without (instance) ({k}, rate(c_total[2m]))"));
    }
    for q in ["0", "0.2", "0.5", "0.9", "0.99", "1", "-0.1", "1.1", "NaN", "scalar(single)"] {
        all.push(format!("histogram_quantile({q}, lat_bucket)"));
        all.push(format!("histogram_quantile({q}, sum by (le) (rate(lat_bucket[3m])))"));
        all.push(format!("histogram_quantile({q}, {{__name__=~\"lat_bucket|other_bucket\"}})"));
        all.push(format!("histogram_quantile({q}, increase(lat_bucket{{le!=\"+Inf\"}}[3m]))"));
    }
    for inner in ["g", "h", "rate(c_total[1m])", "sum(g)", "g > 0", "missing"] {
        for outer in ["max_over_time", "avg_over_time", "count_over_time", "deriv", "changes"] {
            all.push(format!("{outer}(({inner})[4m:35s])"));
        }
    }
    all.extend(
        [
            "g",
            "c_total{instance=\"a\"}",
            "g{instance!=\"a\"}",
            "g{instance=~\"a|b\"}",
            "g{instance!~\"a.*\"}",
            "g{instance=~\".\"}",
            "{__name__=~\"g|h\"}",
            "g{nolabel=\"\"}",
            "g{zone=~\"z\"}",
            "missing",
            "g offset 5m",
            "g offset -1m",
            "c_total[1m]",
            "h[90s] offset 30s",
            "clamp(g, -5, 5)",
            "clamp(g, 5, -5)",
            "clamp_min(g, 0)",
            "clamp_max(h, 0)",
            "round(g, 5)",
            "round(g, 0.1)",
            "scalar(single)",
            "scalar(g)",
            "vector(3)",
            "time()",
            "-g",
            "-3",
            "1 + 2 * 3 ^ 2 ^ 0.5 - -1",
            "5 % 3",
            "-5 % 3",
            "1 / 0",
            "0 / 0",
            "g / 0",
            "sum(g) / count(g)",
            "100 * (1 - avg(rate(c_total[1m])))",
            "sum by (zone) (rate(c_total[2m])) / on(zone) single",
            "g + on(zone) h",
            "g * on(zone) group_left h",
            "sum(missing)",
            "missing or vector(0)",
            "g == g",
            "h != h",
            "max_over_time(h[10m])",
            "min_over_time(h[10m])",
            "rate(c_total[1ms])",
            "avg_over_time({__name__=~\"g|h\"}[2m])",
            "abs({__name__=~\"g|h\"})",
            "- {__name__=~\"g|h\"}",
            "time() - timestamp(g)",
            "g > 0 > bool 1",
            "pi()",
            "pi() * 2 ^ 0.5",
            "g atan2 h",
            "g atan2 3",
            "-3 atan2 2",
            "absent(g)",
            "absent(missing)",
            "absent(missing{a=\"b\",c=~\"d\",e!=\"f\"})",
            "absent(missing{a=\"b\",a=\"c\",e=\"f\"})",
            "absent((missing{a=\"b\"}))",
            "absent(sum(missing{a=\"b\"}))",
            "absent(g > 1e9)",
            "absent_over_time(g[1m])",
            "absent_over_time(missing{a=\"b\"}[1m])",
            "absent_over_time(missing{a=\"b\"}[5m:1m])",
            "absent_over_time(g[5m:1m])",
            "count_values(\"v\", changes(g[3m]))",
            "count_values by (zone) (\"v\", round(g, 50))",
            "count_values without (instance) (\"v\", h)",
            "count_values(\"instance\", round(g, 50))",
            "count_values(\"no-label\", g)",
            "sort(g)",
            "sort_desc(h)",
            "sort(h)",
            "sort_desc(sum by (instance) (g))",
            "label_replace(g, \"to\", \"$1-$2\", \"instance\", \"(.)(.*)\")",
            "label_replace(g, \"to\", \"x${1}y$$\", \"zone\", \"z(\\\\d)\")",
            "label_replace(g, \"zone\", \"\", \"zone\", \".*\")",
            "label_replace(g, \"instance\", \"\", \"instance\", \".*\")",
            "label_replace(g, \"__name__\", \"renamed\", \"instance\", \"a|b\")",
            "label_replace(g, \"to\", \"$name\", \"instance\", \"(?P<name>[ab])\")",
            "label_replace(g, \"to\", \"x\", \"nolabel\", \"\")",
            "label_replace(g, \"to\", \"x\", \"instance\", \"nothing\")",
            "label_replace(g, \"no-label\", \"x\", \"instance\", \"a\")",
            "label_replace(g, \"to\", \"x\", \"instance\", \"(\")",
            "label_join(g, \"to\", \"/\", \"zone\", \"instance\")",
            "label_join(g, \"to\", \"/\")",
            "label_join(g, \"zone\", \"\", \"nolabel\")",
            "label_join(g, \"instance\", \"-\", \"zone\", \"nolabel\")",
            "label_join(g, \"to\", \"\", \"no-label\")",
            "sum by (to) (label_replace(g, \"to\", \"$1\", \"instance\", \"(a|b)\"))",
            "vector(scalar(single))",
            "scalar(missing)",
            "scalar(topk(1, g))",
            "timestamp(timestamp(g))",
            "timestamp(sum(g))",
            "timestamp((g))",
            "holt_winters(g[5m], 0, 0.5)",
            "holt_winters(g[5m], 0.5, 1.5)",
            "holt_winters(missing[5m], 0, 0.5)",
            "g @ $T",
            "g @ $T offset 1m",
            "g offset 1m @ $T",
            "rate(c_total[1m] @ $T)",
            "g @ start()",
            "sum_over_time(g[2m] @ end())",
            "max_over_time((g @ start())[3m:1m])",
            "max_over_time(g[3m:1m] @ $T)",
            "absent(missing{a=\"b\"} @ $T)",
            "timestamp(g @ $T)",
            "g - g @ $T",
            "g[2m:30s]",
            "g[2m:30s] offset 45s",
            "rate(c_total[1m])[3m:45s]",
            "rate(c_total[5m:20s])",
            "irate(c_total[5m:7s] offset 1m)",
            "max_over_time(rate(c_total[1m])[5m:])",
            "quantile_over_time(0.4, rate(c_total[1m])[5m:20s])",
            "max_over_time(sum_over_time(g[2m:20s])[3m:30s])",
            "last_over_time(g[5m:50s])",
            "stddev_over_time((g + on(instance) h)[4m:25s])",
            "predict_linear(g[5m:20s], 60)",
            "holt_winters(g[5m:20s], 0.5, 0.5)",
            "min_over_time(topk(1, g)[3m:30s])",
            "count_over_time(vector(1)[5m:1m])",
            "sum_over_time(vector(time())[3m:1m])",
            "avg_over_time(absent(g)[5m:30s])",
            "max_over_time(g[5m:30s] offset -1m)",
            "sum(g) by (zone) > bool 0",
            "sum by () (g)",
            "sum without () (g)",
            "sum by (__name__) ({__name__=~\"g|h\"})",
            "count by (nolabel) (g)",
            "g + ignoring(instance) group_left(instance) sum without (instance) (h)",
            "g * on(zone) group_left(nolabel) single",
            "g and on() vector(1)",
            "g unless on() missing",
            "g or on(zone) h",
            "missing or g or h",
            "g > on(instance) h",
            "g > bool on(instance) h",
            "(g > 0) or (h < 0)",
            "sum(g and h) / count(g or h)",
            "g{instance=~\"a|b\",zone!=\"\"}",
            "g{instance=~\"[^a]\"}",
            "g{instance=~\"\\\\w\"}",
            "g{instance=~\"a{1}\"}",
            "{instance=\"a\",__name__!=\"lat_bucket\"} ",
            "0x1F + 1e3 + .5 + Inf * 0",
            "NaN == bool NaN",
            "1 and 1",
            "sum(1)",
            "rate(g)",
            "g[5m] + 1",
            "g offset 1y",
            "clamp(g, NaN, 5)",
            "clamp(g, 0, scalar(single))",
            "round(g, 0)",
            "round(h, -4)",
            "-g ^ 2",
            "-(1) ^ 2",
            "2 ^ -1",
            "1 - -1",
            "g % 7",
            "-7 % 4.5",
            "g == bool g",
            "g != h",
            "stddev(h)",
            "quantile by (zone) (0.9, h)",
            "quantile(NaN, g)",
            "quantile_over_time(NaN, g[1m])",
            "avg(h) + max(h) + min(h)",
            "group by (instance) (h)",
            "max(missing)",
            "count(missing) or vector(0)",
            "resets(c_total[10m]) + changes(c_total[10m])",
        ]
        .map(str::to_owned),
    );
    all
}

const NAMES: [&str; 4] = ["g", "h", "c_total", "single"];
const RANGES: [&str; 5] = ["20s", "1m", "95s", "3m", "10m"];

/// Expressions as nobody would write them, but anybody could.
struct Generator(rand_pcg::Pcg64Mcg);

impl Generator {
    fn below(&mut self, most: u32) -> u32 {
        self.0.next_u32() % most
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u32) as usize]
    }

    fn number(&mut self) -> String {
        self.one(&["0", "1", "-2", "0.5", "7", "100", "1e3", "scalar(single)", "(time() % 60)"]).to_owned()
    }

    fn back(&mut self) -> &'static str {
        self.one(&["", "", "", " offset 40s", " offset -30s", " @ $T", " @ end() offset 1m"])
    }

    fn selector(&mut self) -> String {
        let name = self.one(&NAMES);
        let matcher = self.one(&[
            "",
            "",
            "{instance=\"a\"}",
            "{instance!=\"a\"}",
            "{instance=~\"a|c\"}",
            "{zone!~\"z1|none\"}",
            "{zone=\"z2\",instance!~\"b.*\"}",
        ]);
        format!("{name}{matcher}")
    }

    fn range(&mut self, depth: u32) -> String {
        if depth == 0 || self.below(4) > 0 {
            return format!("{}[{}]{}", self.selector(), self.one(&RANGES), self.back());
        }
        let step = self.one(&["10s", "25s", "1m", ""]);
        format!("({})[{}:{step}]{}", self.vector(depth - 1), self.one(&RANGES), self.back())
    }

    fn over_range(&mut self, depth: u32) -> String {
        let range = self.range(depth);
        let plain = [
            "rate",
            "increase",
            "delta",
            "irate",
            "idelta",
            "changes",
            "resets",
            "deriv",
            "avg_over_time",
            "min_over_time",
            "max_over_time",
            "sum_over_time",
            "count_over_time",
            "stddev_over_time",
            "stdvar_over_time",
            "last_over_time",
            "present_over_time",
        ];
        match self.below(10) {
            0 => format!("quantile_over_time({}, {range})", self.one(&["0.1", "0.5", "0.95", "2"])),
            1 => format!("predict_linear({range}, {})", self.number()),
            2 => format!("holt_winters({range}, 0.{}, 0.{})", 1 + self.below(9), 1 + self.below(9)),
            _ => format!("{}({range})", self.one(&plain)),
        }
    }

    fn grouping(&mut self) -> &'static str {
        self.one(&[
            "",
            " by (instance)",
            " by (zone)",
            " without (instance)",
            " by (zone, le)",
            " without ()",
        ])
    }

    fn aggregate(&mut self, depth: u32) -> String {
        let (inner, grouping) = (self.vector(depth - 1), self.grouping());
        let plain = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"];
        match self.below(8) {
            0 => format!("topk{grouping} ({}, {inner})", self.below(4)),
            1 => format!("bottomk{grouping} ({}, {inner})", self.below(4)),
            2 => format!("quantile{grouping} (0.{}, {inner})", self.below(10)),
            3 => format!("count_values{grouping} (\"v\", round({inner}, 100))"),
            _ => format!("{}{grouping} ({inner})", self.one(&plain)),
        }
    }

    fn binary(&mut self, depth: u32) -> String {
        let op = self.one(&["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "> bool", "<= bool"]);
        let left = self.vector(depth - 1);
        match self.below(4) {
            0 => format!("({left}) {op} {}", self.number()),
            1 => format!("{} {op} ({left})", self.number()),
            _ => {
                let matching = self.one(&[
                    "",
                    "on (instance)",
                    "ignoring (zone)",
                    "on (zone) group_left ()",
                    "on (zone) group_right (instance)",
                    "on (instance) group_left (zone)",
                ]);
                format!("({left}) {op} {matching} ({})", self.vector(depth - 1))
            }
        }
    }

    fn set(&mut self, depth: u32) -> String {
        let op = self.one(&["and", "or", "unless"]);
        let matching = self.one(&["", "on (instance)", "ignoring (zone)", "on ()"]);
        format!("({}) {op} {matching} ({})", self.vector(depth - 1), self.vector(depth - 1))
    }

    fn call(&mut self, depth: u32) -> String {
        let inner = self.vector(depth - 1);
        match self.below(9) {
            0 => format!("clamp({inner}, {}, 90)", self.number()),
            1 => format!("clamp_min({inner}, {})", self.number()),
            2 => format!("round({inner}, {})", self.one(&["1", "0.25", "8"])),
            3 => format!("absent({inner})"),
            4 => format!("label_replace({inner}, \"zone\", \"$1!\", \"instance\", \"([ab])\")"),
            5 => format!("label_join({inner}, \"to\", \":\", \"zone\", \"instance\")"),
            6 => format!("timestamp({inner})"),
            7 => format!("histogram_quantile(0.{}, rate(lat_bucket[{}]))", self.below(10), self.one(&RANGES)),
            _ => format!(
                "{}({inner})",
                self.one(&["abs", "ceil", "floor", "sgn", "sqrt", "minute", "-", "sort"])
            ),
        }
    }

    fn vector(&mut self, depth: u32) -> String {
        if depth == 0 {
            return format!("{}{}", self.selector(), self.back());
        }
        match self.below(10) {
            0 => format!("{}{}", self.selector(), self.back()),
            1..=3 => self.over_range(depth),
            4 | 5 => self.aggregate(depth),
            6 | 7 => self.binary(depth),
            8 => self.set(depth),
            _ => self.call(depth),
        }
    }
}

/// `count` of them, ever the same.
pub fn random(count: usize) -> Vec<String> {
    let mut generator = Generator(rand_pcg::Pcg64Mcg::new(42));
    (0..count).map(|at| generator.vector(1 + at as u32 % 3)).collect()
}

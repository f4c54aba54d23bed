//! A figure as SVG and as PNG.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::plot::Figure;

const SIZE: (u32, u32) = (900, 540);
/// Where the curves, and what is above them, begin; and the air on the right.
const LEFT: i32 = 96;
const EDGE: i32 = 16;
/// Okabe and Ito's colours, which the colour-blind can tell apart.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];
const FONT: &str = "sans-serif";
/// The glyphs that figures use, of a free font; see fonts/LICENSE.
const GLYPHS: &[u8] = include_bytes!("../fonts/figure.ttf");

/// The text of an SVG file.
pub(crate) fn svg(figure: &Figure) -> Result<String, String> {
    let mut text = String::new();
    draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), figure)?;
    Ok(text)
}

/// The bytes of a PNG file.
pub(crate) fn png(figure: &Figure) -> Result<Vec<u8>, String> {
    let (width, height) = SIZE;
    let mut pixels = vec![0; width as usize * height as usize * 3];
    draw(&BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area(), figure)?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    written.map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn draw<B: DrawingBackend>(area: &DrawingArea<B, Shift>, figure: &Figure) -> Result<(), String> {
    register_font(FONT, FontStyle::Normal, GLYPHS).map_err(|_| "the font is damaged".to_owned())?;
    draw_on(area, figure).map_err(|error| error.to_string())
}

fn draw_on<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    figure: &Figure,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    area.fill(&WHITE)?;
    let (_, body) = area.split_vertically(head(area, figure)?);
    let scale = |value: f64| if figure.logarithmic { value.log2() } else { value };
    let unscale = |value: f64| if figure.logarithmic { value.exp2() } else { value };
    let points = || figure.series.iter().flat_map(|series| &series.points);
    let (left, right) = range(points().map(|point| scale(point.x)), 0.0);
    let threshold = figure.threshold.map(scale);
    let heights = points().flat_map(|point| [scale(point.low), scale(point.high)]).chain(threshold);
    let (bottom, top) = range(heights, 0.04);
    // On a logarithmic scale, ticks are powers of two.
    let digits = if figure.logarithmic { 0 } else { digits(top - bottom) };
    let ticks =
        |width: f64, most: usize| if figure.logarithmic { most.min(width as usize + 1) } else { most };
    let mut chart = ChartBuilder::on(&body)
        .margin(16)
        .margin_top(4)
        .margin_right(EDGE as u32 + 16)
        .x_label_area_size(56)
        .y_label_area_size(LEFT as u32 - 16)
        .build_cartesian_2d(left..right, bottom..top)?;
    chart
        .configure_mesh()
        .x_desc(&figure.x_label)
        .y_desc(&figure.y_label)
        .x_label_formatter(&|value| number(unscale(*value), 0))
        .y_label_formatter(&|value| number(unscale(*value), digits))
        .x_labels(ticks(right - left, 7))
        .y_labels(ticks(top - bottom, 8))
        .label_style((FONT, 17))
        .axis_desc_style((FONT, 19))
        .bold_line_style(BLACK.mix(0.12))
        .light_line_style(TRANSPARENT)
        .axis_style(BLACK.mix(0.6))
        .draw()?;
    if let Some(threshold) = threshold {
        let line = [(left, threshold), (right, threshold)];
        chart.draw_series(DashedLineSeries::new(line, 6, 5, threshold_style()))?;
    }
    // The bands below all the lines.
    for (place, series) in figure.series.iter().enumerate() {
        let high = series.points.iter().map(|point| (scale(point.x), scale(point.high)));
        let low = series.points.iter().rev().map(|point| (scale(point.x), scale(point.low)));
        chart.draw_series([Polygon::new(high.chain(low).collect::<Vec<_>>(), colour(place).mix(0.18))])?;
    }
    for (place, series) in figure.series.iter().enumerate() {
        let mean: Vec<(f64, f64)> =
            series.points.iter().map(|point| (scale(point.x), scale(point.mean))).collect();
        let style = colour(place).stroke_width(3);
        if place < COLOURS.len() {
            chart.draw_series(LineSeries::new(mean.iter().copied(), style))?;
        } else {
            chart.draw_series(DashedLineSeries::new(mean.iter().copied(), 12, 6, style))?;
        }
        // A line of one point is none.
        if let [only] = mean[..] {
            chart.draw_series([Circle::new(only, 5, colour(place).filled())])?;
        }
    }
    area.present()
}

/// Draws title, caption and legend, above the curves so that they cover none of them. Returns how high they are.
fn head<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    figure: &Figure,
) -> Result<i32, DrawingAreaErrorKind<B::ErrorType>> {
    const SAMPLE: i32 = 28;
    let text = |size| (FONT, size).into_font().color(&BLACK.mix(0.85));
    let mut y = 14;
    if !figure.title.is_empty() {
        area.draw(&Text::new(figure.title.clone(), (LEFT, y), text(22)))?;
        y += 28;
    }
    if !figure.caption.is_empty() {
        area.draw(&Text::new(
            figure.caption.clone(),
            (LEFT, y),
            (FONT, 15).into_font().color(&BLACK.mix(0.6)),
        ))?;
        y += 24;
    }
    let threshold = figure.threshold.map(|value| {
        let written = value.to_string();
        let decimals = written.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        format!("threshold {}", number(value, decimals))
    });
    let series = figure.series.iter().map(|series| series.label.clone()).enumerate();
    let entries =
        series.map(|(place, label)| (Some(place), label)).chain(threshold.map(|label| (None, label)));
    let mut x = LEFT;
    for (place, label) in entries {
        let width = SAMPLE + 8 + area.estimate_text_size(&label, &text(18))?.0.cast_signed();
        if x > LEFT && x + width > SIZE.0.cast_signed() - EDGE {
            (x, y) = (LEFT, y + 24);
        }
        let (middle, style) = (y + 6, place.map_or(threshold_style(), |place| colour(place).stroke_width(3)));
        let pieces = match place {
            Some(place) if place < COLOURS.len() => vec![(0, SAMPLE)],
            Some(_) => vec![(0, 11), (17, SAMPLE)],
            None => vec![(0, 6), (11, 17), (22, SAMPLE)],
        };
        for (from, to) in pieces {
            area.draw(&PathElement::new([(x + from, middle), (x + to, middle)], style))?;
        }
        area.draw(&Text::new(label, (x + SAMPLE + 8, y), text(18)))?;
        x += width + 28;
    }
    Ok(y + 30)
}

fn colour(place: usize) -> RGBColor {
    COLOURS[place % COLOURS.len()]
}

fn threshold_style() -> ShapeStyle {
    BLACK.mix(0.7).stroke_width(1)
}

/// The smallest and the largest of some numbers with a share of air around them, apart in any case.
fn range(values: impl Iterator<Item = f64>, air: f64) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return (0.0, 1.0);
    }
    let space = if high > low { air * (high - low) } else { 0.5 };
    (low - space, high + space)
}

/// Digits after the point with which the ticks of a range of this width differ.
fn digits(width: f64) -> usize {
    (1.0 - width.log10()).ceil().clamp(0.0, 9.0) as usize
}

/// A number with separated thousands and the minus sign of typography.
fn number(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    let mut grouped = String::new();
    let whole = text.split('.').next().unwrap_or_default().len();
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index < whole && (whole - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(character);
    }
    if value < 0.0 && text.chars().any(|digit| ('1'..='9').contains(&digit)) {
        format!("−{grouped}")
    } else {
        grouped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Point, Series};

    fn figure() -> Figure {
        let point = |x: f64| Point { x, mean: -x, low: -x - 5.0, high: -x + 5.0 };
        Figure {
            title: "pendulum".into(),
            caption: "mean over the runs".into(),
            x_label: "environment steps".into(),
            y_label: "mean return".into(),
            series: vec![Series {
                label: "rnd+sac <5>".into(),
                points: (0..5).map(|x| point(f64::from(x))).collect(),
            }],
            threshold: Some(-2.0),
            logarithmic: false,
        }
    }

    #[test]
    fn both_formats_are_drawn() {
        let svg = svg(&figure()).unwrap();
        let parts =
            ["environment steps", "mean return", "rnd+sac &lt;5&gt;", "pendulum", "mean over the runs"];
        for part in parts.into_iter().chain(["threshold −2", "polygon", "polyline"]) {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        let png = png(&figure()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&png[..])).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), SIZE);
        let blue = pixels.chunks_exact(3).filter(|pixel| **pixel == [0, 114, 178]).count();
        assert!(blue > 200, "{blue} pixels of the line");
    }

    /// Doublings are equally far apart, and the ticks say the values.
    #[test]
    fn a_logarithmic_figure_has_powers_of_two_at_its_ticks() {
        let point = |x: f64| Point { x, mean: 1e3 / x, low: 9e2 / x, high: 1.1e3 / x };
        let series = vec![Series { label: "sac".into(), points: [32.0, 64.0, 256.0].map(point).to_vec() }];
        let svg = svg(&Figure { series, threshold: None, logarithmic: true, ..figure() }).unwrap();
        for tick in ["32", "64", "128", "256", "4", "8", "16"] {
            assert!(svg.lines().any(|line| line.trim() == tick), "{tick} in {svg}");
        }
    }

    #[test]
    fn a_figure_of_one_point_or_of_equal_values_has_a_range() {
        assert_eq!(range([3.0].into_iter(), 0.1), (2.5, 3.5));
        assert_eq!(range([f64::NAN].into_iter(), 0.1), (0.0, 1.0));
        let mut one = figure();
        one.series[0].points.truncate(1);
        assert!(svg(&one).is_ok() && png(&one).is_ok());
    }

    /// What is drawn above the curves grows with the legend, and the plot begins below it.
    #[test]
    fn a_legend_of_many_entries_is_wrapped() {
        let mut many = figure();
        let one = many.series[0].clone();
        many.series = (0..9)
            .map(|number| Series { label: format!("learner number {number}"), ..one.clone() })
            .collect();
        let height = |figure: &Figure| {
            let mut text = String::new();
            head(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), figure).unwrap()
        };
        assert_eq!(height(&figure()), 14 + 28 + 24 + 30);
        assert_eq!((height(&many) - height(&figure())) % 24, 0);
        assert!(height(&many) > height(&figure()));
        assert!(svg(&many).is_ok() && png(&many).is_ok());
    }

    #[test]
    fn ticks_say_what_differs() {
        for (value, width, text) in [
            (0.0, 3.0, "0.0"),
            (-1250.0, 900.0, "−1,250"),
            (50_000.0, 1e5, "50,000"),
            (0.5, 0.8, "0.50"),
            (-0.001, 0.01, "−0.001"),
            (-0.001, 2.0, "0.0"),
            (1e6, 1e6, "1,000,000"),
        ] {
            assert_eq!(number(value, digits(width)), text);
        }
    }
}

//! A figure as SVG and as PNG.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::plot::Figure;

const SIZE: (u32, u32) = (900, 540);
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
    let points = || figure.series.iter().flat_map(|series| &series.points);
    let (left, right) = range(points().map(|point| point.x), 0.0);
    let heights = points().flat_map(|point| [point.low, point.high]).chain(figure.threshold);
    let (bottom, top) = range(heights, 0.04);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(32)
        .x_label_area_size(56)
        .y_label_area_size(80)
        .build_cartesian_2d(left..right, bottom..top)?;
    chart
        .configure_mesh()
        .x_desc(&figure.x_label)
        .y_desc(&figure.y_label)
        .x_label_formatter(&|value| number(*value))
        .y_label_formatter(&|value| number(*value))
        .x_labels(8)
        .y_labels(8)
        .label_style((FONT, 17))
        .axis_desc_style((FONT, 19))
        .bold_line_style(BLACK.mix(0.12))
        .light_line_style(TRANSPARENT)
        .axis_style(BLACK.mix(0.6))
        .draw()?;
    if let Some(threshold) = figure.threshold {
        let line = [(left, threshold), (right, threshold)];
        chart.draw_series(DashedLineSeries::new(line, 6, 5, BLACK.mix(0.7).stroke_width(1)))?;
    }
    let coloured = || figure.series.iter().zip(COLOURS.iter().cycle());
    // The bands below all the lines.
    for (series, colour) in coloured() {
        let high = series.points.iter().map(|point| (point.x, point.high));
        let low = series.points.iter().rev().map(|point| (point.x, point.low));
        chart.draw_series([Polygon::new(high.chain(low).collect::<Vec<_>>(), colour.mix(0.18))])?;
    }
    for (series, colour) in coloured() {
        let mean = series.points.iter().map(|point| (point.x, point.mean));
        let line = LineSeries::new(mean, colour.stroke_width(3));
        chart
            .draw_series(line)?
            .label(series.label.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 26, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .margin(14)
        .legend_area_size(34)
        .label_font((FONT, 18))
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()
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

/// A tick's number, without digits that say nothing, with the minus sign of typography.
fn number(value: f64) -> String {
    let digits = if value.abs() >= 10.0 || value == 0.0 { 0 } else { 2 };
    let text = format!("{:.digits$}", value.abs());
    let mut grouped = String::new();
    let whole = text.split('.').next().unwrap_or_default().len();
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index < whole && (whole - index) % 3 == 0 && whole > 4 {
            grouped.push(' ');
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
            x_label: "environment steps".into(),
            y_label: "mean return".into(),
            series: vec![Series {
                label: "rnd+sac <5>".into(),
                points: (0..5).map(|x| point(f64::from(x))).collect(),
            }],
            threshold: Some(-2.0),
        }
    }

    #[test]
    fn both_formats_are_drawn() {
        let svg = svg(&figure()).unwrap();
        for part in ["environment steps", "mean return", "rnd+sac &lt;5&gt;", "polygon", "polyline"] {
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

    #[test]
    fn a_figure_of_one_point_or_of_equal_values_has_a_range() {
        assert_eq!(range([3.0].into_iter(), 0.1), (2.5, 3.5));
        assert_eq!(range([f64::NAN].into_iter(), 0.1), (0.0, 1.0));
        let mut one = figure();
        one.series[0].points.truncate(1);
        assert!(svg(&one).is_ok() && png(&one).is_ok());
    }

    #[test]
    fn ticks_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (-1250.0, "−1250"),
            (50_000.0, "50 000"),
            (0.5, "0.50"),
            (-0.001, "0.00"),
            (1e6, "1 000 000"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}

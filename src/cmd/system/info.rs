//! `coracle info`.

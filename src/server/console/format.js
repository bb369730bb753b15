// Numbers, durations and instants as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const NONE = "–";

const isNumber = (n) => typeof n === "number" && Number.isFinite(n);

/// A number in full, as 1,234,567.
export const count = (n) => (isNumber(n) ? whole.format(n) : NONE);

/// A number in few characters: 9,999, 12.3 k, 4.5 M.
export function compact(n) {
  if (!isNumber(n)) return NONE;
  for (const [unit, name] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    const size = name === "k" ? 1e3 : unit;
    if (Math.abs(n) >= unit) return `${(n / size).toFixed(n / size < 100 ? 1 : 0)} ${name}`;
  }
  return whole.format(n);
}

/// A rate: 0, 0.4, 12, 1,234.
export function rate(n) {
  if (!isNumber(n)) return NONE;
  if (n === 0) return "0";
  return n < 9.95 ? n.toFixed(1) : compact(n);
}

export const perSecond = (n) => (isNumber(n) ? `${rate(n)}/s` : NONE);

/// A duration of milliseconds: 0.4 ms, 27 ms, 1.2 s, 15 s, 4 min 10 s, 3 h 20 min, 12 d.
export function duration(ms) {
  if (!isNumber(ms)) return NONE;
  if (ms < 0) return `-${duration(-ms)}`;
  if (ms < 9.95) return `${ms === 0 ? 0 : ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.5) return `${seconds < 9.95 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const s = Math.round(seconds);
  const [min, h] = [Math.floor(s / 60), Math.floor(s / 3600)];
  if (min < 60) return s % 60 === 0 ? `${min} min` : `${min} min ${s % 60} s`;
  if (h < 48) return min % 60 === 0 ? `${h} h` : `${h} h ${min % 60} min`;
  return `${count(Math.floor(h / 24))} d`;
}

/// Bytes: 512 B, 12.3 KiB, 4.5 MiB.
export function bytes(n) {
  if (!isNumber(n)) return NONE;
  for (const [size, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (n >= size) return `${(n / size).toFixed(n / size < 100 ? 1 : 0)} ${unit}`;
  }
  return `${n} B`;
}

const two = (n) => String(n).padStart(2, "0");

/// The time of day on this machine's clock, as 14:03:09.
export function clock(ms) {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/// The same to the minute.
export const minute = (ms) => clock(ms).slice(0, 5);

/// Date and time on this machine's clock, as 2026-06-15 14:03:09.
export function instant(ms) {
  if (!isNumber(ms)) return NONE;
  const at = new Date(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(ms)}`;
}

/// A word with blanks instead of underscores, for reading aloud and for labels.
export const spaced = (word) => word.replaceAll("_", " ");

// Texts of numbers, sizes and times. Nothing here touches the page.

/** What is shown of a value that is not known. */
export const UNKNOWN = "–";

const COUNT = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
const CLOCK = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit", second: "2-digit"});
const DATE = new Intl.DateTimeFormat("en-GB", {dateStyle: "medium", timeStyle: "medium"});
const SIZES = ["B", "kB", "MB", "GB", "TB", "PB"];
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** @param {unknown} value @returns {value is number} */
function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/**
 * Three digits or so: 0.12, 1.2, 12, 123.
 * @param {number} value
 */
function short(value) {
  const size = Math.abs(value);
  if (size >= 10 || size === 0) return COUNT.format(value);
  return size >= 1 ? value.toFixed(1) : value.toPrecision(2).replace(/\.?0+$/, "");
}

/** A whole number with its thousands apart. @param {number | null | undefined} value */
export function count(value) {
  return isNumber(value) ? COUNT.format(value) : UNKNOWN;
}

/** A share of 1 in per cent. @param {number | null | undefined} value */
export function percent(value) {
  if (!isNumber(value)) return UNKNOWN;
  const hundredths = value * 100;
  return `${hundredths > 0 && hundredths < 1 ? "< 1" : COUNT.format(hundredths)} %`;
}

/** A number of bytes, in steps of 1000. @param {number | null | undefined} value */
export function bytes(value) {
  if (!isNumber(value)) return UNKNOWN;
  let size = value;
  let step = 0;
  while (Math.abs(size) >= 999.5 && step < SIZES.length - 1) {
    size /= 1000;
    step += 1;
  }
  return `${step === 0 ? COUNT.format(size) : short(size)} ${SIZES[step]}`;
}

/** Bytes in a second. @param {number | null | undefined} value */
export function rate(value) {
  return isNumber(value) ? `${bytes(value)}/s` : UNKNOWN;
}

/** A length of time. @param {number | null | undefined} value in seconds */
export function seconds(value) {
  if (!isNumber(value)) return UNKNOWN;
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 0.001) return `${short(value * 1e6)} µs`;
  if (size < 0.9995) return `${short(value * 1000)} ms`;
  if (size < MINUTE) return `${short(value)} s`;
  if (size < HOUR) return pair(value, MINUTE, "min", 1, "s");
  return size < DAY ? pair(value, HOUR, "h", MINUTE, "min") : pair(value, DAY, "d", HOUR, "h");
}

/**
 * @param {number} value @param {number} large @param {string} largeName @param {number} small
 * @param {string} smallName
 */
function pair(value, large, largeName, small, smallName) {
  const whole = Math.floor(value / large);
  const rest = Math.floor((value - whole * large) / small);
  return rest ? `${whole} ${largeName} ${rest} ${smallName}` : `${whole} ${largeName}`;
}

/** How long ago something was. @param {number | null | undefined} value in seconds */
export function ago(value) {
  if (!isNumber(value)) return UNKNOWN;
  if (value < 1) return "now";
  return value < MINUTE ? `${Math.floor(value)} s ago` : `${seconds(value)} ago`;
}

/** Whether dates can be that far away (ECMA-262, section 21.4.1.1). @param {unknown} value in seconds */
function isTime(value) {
  return isNumber(value) && Math.abs(value) <= 8.64e12;
}

/** The time of day. @param {number | null | undefined} value seconds since the Unix epoch */
export function clock(value) {
  return isTime(value) ? CLOCK.format(value * 1000) : UNKNOWN;
}

/** Date and time. @param {number | null | undefined} value seconds since the Unix epoch */
export function date(value) {
  return isTime(value) ? DATE.format(value * 1000) : UNKNOWN;
}

/** An address as people write it. @param {{ip: string, port: number} | null | undefined} value */
export function address(value) {
  if (!value) return UNKNOWN;
  return value.ip.includes(":") ? `[${value.ip}]:${value.port}` : `${value.ip}:${value.port}`;
}

/** How almost all public keys begin: "LibNaCLPK:". */
const KEY_START = "4c69624e61434c504b3a";

/** The first digits of a key or hash that differ from those of others. @param {string} hex @param {number} [digits] */
export function shortHex(hex, digits = 10) {
  if (hex.startsWith(KEY_START)) return `…${hex.slice(KEY_START.length, KEY_START.length + digits)}…`;
  return hex.length > digits + 2 ? `${hex.slice(0, digits)}…` : hex;
}

/** "1 peer", "2 peers". @param {number} number @param {string} one @param {string} [many] */
export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

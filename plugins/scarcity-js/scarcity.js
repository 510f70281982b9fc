// Pricing: storage costs more as the disk fills. The policy `scarcity` once more, in JavaScript.
//
// Numbers of 64 bits are BigInt, which neither round nor overflow.
import { get } from "commonhold:policy/config@0.1.0";
import { write } from "commonhold:policy/log@0.1.0";

const CURVE = "50:1000 80:1500 95:3000 100:10000";
const AMOUNT_MAX = (1n << 63n) - 1n;
const FACTOR_MAX = 1_000_000n;
const U64_MAX = (1n << 64n) - 1n;

const least = (a, b) => (a < b ? a : b);

// Says what is wrong with the configuration, and ends the call.
function mistake(sentence) {
  write(3, sentence);
  throw new Error(sentence);
}

function number(text) {
  return /^[0-9]{1,20}$/.test(text) ? BigInt(text) : undefined;
}

// Points of the curve: thousandths of the disk, thousandths of the price.
function curve() {
  const points = [];
  for (const part of (get("curve") ?? CURVE).split(/\s+/).filter((it) => it !== "")) {
    const [percent, factor] = part.split(/:(.*)/s).map(number);
    const rises = percent !== undefined && percent * 10n > (points.at(-1)?.used ?? -1n);
    if (!rises || percent > 100n || factor === undefined || factor > FACTOR_MAX) {
      mistake(`configuration curve: ${part} is no rising point like 80:1500`);
    }
    points.push({ used: percent * 10n, factor });
  }
  return points;
}

// Between two points on the straight line; before the first and after the last as there.
function factor(points, used) {
  const at = points.findIndex((point) => used < point.used);
  const after = points[at];
  const before = at < 0 ? points.at(-1) : points[at - 1];
  if (before === undefined || after === undefined) {
    return (before ?? after)?.factor ?? 1000n;
  }
  const [way, all] = [used - before.used, after.used - before.used];
  return (before.factor * (all - way) + after.factor * way) / all;
}

function expectedPercent() {
  const text = (get("expected_percent") ?? "0").trim();
  return least(number(text) ?? mistake(`configuration expected_percent: ${text} is no number`), 100n);
}

// In whole KiB, as commonhold-plugin counts.
function usedPerMille(lent, used) {
  const kib = lent >> 10n;
  return kib === 0n ? 1000n : ((least(used, lent) >> 10n) * 1000n) / kib;
}

export const pricing = {
  quote({ base, bytes, usage }) {
    const expected = least(bytes * expectedPercent(), U64_MAX) / 100n;
    const perMille = usedPerMille(usage.allottedBytes, usage.usedBytes + expected);
    const storage = least((base.storage * factor(curve(), perMille)) / 1000n, AMOUNT_MAX);
    return { ...base, storage };
  },

  creditLimit() {
    return { trust: 0n, gift: AMOUNT_MAX };
  },

  ceiling() {
    return { storage: U64_MAX, egress: U64_MAX, audit: U64_MAX };
  },
};

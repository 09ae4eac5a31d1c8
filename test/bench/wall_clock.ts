/** Unix time in ms with all the digits that performance.now() has: to compare with what other processes print. */
export function wallClock(): number {
  return offset + performance.now()
}

/** performance.timeOrigin is rounded and ages with the clock's corrections: the moment at which Date.now() moves on is exact. */
const offset = (() => {
  const before = Date.now()
  let now = before
  while (now === before) now = Date.now()
  return now - performance.now()
})()

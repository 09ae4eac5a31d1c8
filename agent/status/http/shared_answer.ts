/** One answer, or failure, for all callers within `ms`: the work is done once for any number of callers. */
export function sharedAnswer<T>(ms: number, make: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined
  let madeAtMs = Number.NEGATIVE_INFINITY
  let isDone = true
  return () => {
    if (answer !== undefined && (!isDone || performance.now() - madeAtMs < ms)) return answer
    isDone = false
    answer = make().finally(() => {
      isDone = true
      madeAtMs = performance.now()
    })
    return answer
  }
}

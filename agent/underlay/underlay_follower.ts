import { isDeepStrictEqual } from 'node:util'
import { Budget } from '../../lease/common/budget.ts'
import { sleep } from '../../lease/common/sleep.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'
import type { Underlay } from '../backend/backend.ts'
import type { UnderlayChoice } from './underlay.ts'
import type { UnderlayWatch } from './underlay_watch.ts'

/** Limits what an interface costs that flaps without end. */
const REVIEWS = { most: 5, perSecond: 1 } as const

export interface Reviewed {
  readonly moved: UnderlayChoice | undefined
  /** `nextAge` when the first of the reviewed changes was reported; undefined where none was. */
  readonly heard: number | undefined
}

/** Reviews the external interface after each change on the host. */
export class UnderlayFollower {
  readonly #watch: Pick<UnderlayWatch, 'review' | 'againInMs'>
  readonly #nextAge: () => number
  readonly #due = new WakeUp()
  #heard: number | undefined

  /** `nextAge` numbers the moment of a change: peers that were admitted earlier have a lower number. */
  constructor(watch: Pick<UnderlayWatch, 'review' | 'againInMs'>, nextAge: () => number) {
    this.#watch = watch
    this.#nextAge = nextAge
  }

  /** Call it when interfaces, addresses or routes have changed. */
  hear(): void {
    this.#heard ??= this.#nextAge()
    this.#due.set()
  }

  /** Reviews soon, whether anything has changed or not. */
  review(): void {
    this.#due.set()
  }

  /** Reviews at once, as the choice is older than the listening, and after each change. */
  async run(onReview: (reviewed: Reviewed) => void, signal: AbortSignal): Promise<never> {
    const budget = new Budget(REVIEWS)
    for (;;) {
      while (!budget.spend(1)) await sleep(budget.waitMs(), signal)
      const heard = this.#heard
      this.#heard = undefined
      onReview({ moved: await this.#watch.review(signal), heard })
      await this.#due.wait(this.#watch.againInMs, signal)
    }
  }
}

/** Whether connections over one still work over the other: another prefix does not break them. */
export function isSameWay(a: Underlay, b: Underlay): boolean {
  return a.name === b.name && isDeepStrictEqual(a.localIps, b.localIps)
}

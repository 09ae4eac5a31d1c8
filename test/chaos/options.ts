import { parseArgs } from 'node:util'

export interface ChaosOptions {
  readonly seed: number
  readonly minutes: number
  readonly agents: number
  /** How many flannelds run among the agents. */
  readonly flannelds: number
  /** Weight of the loss of all data among some seventy of all faults. */
  readonly dataLoss: number
  /** Where all that happened is written, a JSON object a line. */
  readonly historyFile: string | undefined
  /** Measure memory under churn instead. */
  readonly churn: boolean
  /** Events a second, with `churn`. */
  readonly rate: number
}

/** A command line that cannot be carried out. */
export class UsageError extends Error {
  override name = 'UsageError'
}

export const usage = `npm run chaos -- [options]

  --minutes N       how long faults continue; 1 unless given
  --seed N          draws the faults; at random unless given, and printed
  --agents N        lease layers in this process; 24 unless given
  --flannelds N     nodes among them that behave as flanneld; 1 unless given
  --data-loss W     weight of the loss of all of etcd's data, where all other faults have about 60; 1 unless given
  --history FILE    write all that happened to FILE, a JSON object a line
  --churn           measure the memory of one store that follows 100 changes a second
  --rate N          changes a second, with --churn
`

/** Throws UsageError. */
export function parseOptions(words: readonly string[]): ChaosOptions {
  const values = parse(words)
  const number = (name: string, text: string | undefined, fallback: number, min: number) => {
    const value = text === undefined ? fallback : Number(text)
    if (Number.isFinite(value) && value >= min) return value
    throw new UsageError(`--${name} is '${text}': it must be a number from ${min}\n\n${usage}`)
  }
  return {
    seed: number('seed', values.seed, Math.floor(Math.random() * 1e6), 0),
    minutes: number('minutes', values.minutes, 1, 0.01),
    agents: Math.min(200, number('agents', values.agents, 24, 3)),
    flannelds: number('flannelds', values.flannelds, 1, 0),
    dataLoss: number('data-loss', values['data-loss'], 1, 0),
    historyFile: values.history,
    churn: values.churn ?? false,
    rate: number('rate', values.rate, 100, 1),
  }
}

function parse(words: readonly string[]) {
  const text = { type: 'string' } as const
  const options = {
    seed: text,
    minutes: text,
    agents: text,
    flannelds: text,
    'data-loss': text,
    history: text,
    churn: { type: 'boolean' },
    rate: text,
  } as const
  try {
    return parseArgs({ args: [...words], options }).values
  } catch (cause) {
    throw new UsageError(`${cause instanceof Error ? cause.message : cause}\n\n${usage}`, { cause })
  }
}

import type { IptablesChain } from './rules.ts'

/** What stands in one of our tables and around it, as `iptables -S` prints it. */
export interface IptablesState {
  /** The rules of the kernel's chain, in order. */
  readonly parent: readonly string[]
  /** Ours; undefined where there is no such chain. */
  readonly chain: readonly string[] | undefined
}

/**
 * Lines for `iptables-restore --noflush` that make the state as desired; none where it is. `first` moves a
 * jump that a rule in front of it makes useless to the first place.
 */
export function planIptables(
  desired: IptablesChain,
  { parent, chain }: IptablesState,
  { first }: { readonly first: boolean },
): readonly string[] {
  const jumps = parent.filter(rule => rule === desired.jump).length
  const body =
    desired.rules.length === 0
      ? removal(desired, jumps, chain !== undefined)
      : [
          ...(sameRules(desired.rules, chain) ? [] : [`:${desired.chain} - [0:0]`, ...desired.rules]),
          ...jumpLines(desired, jumps, first && blockedBy(desired, parent) !== undefined, first),
        ]
  return body.length === 0 ? [] : [`*${desired.table}`, ...body, 'COMMIT']
}

/** The rule that rejects or drops everything before our accepts are asked; undefined where there is none. */
export function blockedBy({ jump }: IptablesChain, parent: readonly string[]): string | undefined {
  const at = parent.indexOf(jump)
  const before = at < 0 ? parent : parent.slice(0, at)
  return before.find(rule =>
    /^-A \S+(?: -m comment --comment (?:"[^"]*"|\S+))? -j (?:REJECT|DROP)\b/.test(rule),
  )
}

function sameRules(desired: readonly string[], actual: readonly string[] | undefined): boolean {
  return actual !== undefined && actual.join('\n') === desired.join('\n')
}

function jumpLines({ jump }: IptablesChain, jumps: number, move: boolean, first: boolean): readonly string[] {
  const [remove, insert] = [jump.replace('-A', '-D'), jump.replace('-A', '-I')]
  if (move) return [...Array<string>(jumps).fill(remove), insert]
  if (jumps === 0) return [first ? insert : jump]
  // Once is enough: the first of several is deleted, so the last one stays.
  return Array<string>(jumps - 1).fill(remove)
}

/** Naming one of our chains empties it, which is what deleting it needs; the jump goes first. */
function removal({ chain, jump }: IptablesChain, jumps: number, there: boolean): readonly string[] {
  const remove = Array<string>(jumps).fill(jump.replace('-A', '-D'))
  return there ? [`:${chain} - [0:0]`, ...remove, `-X ${chain}`] : remove
}

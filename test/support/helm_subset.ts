import { createHash } from 'node:crypto'

/**
 * Renders the chart without Helm. Knows only the part of Helm's template language that the chart uses: values
 * by path, `.`, `quote`, `default`, `toYaml | nindent`, the checksum of another template, and if (not, eq,
 * semverCompare of Kubernetes' minor), else, with, range, end. Throws for everything else. Where
 * TWILL_TEST_HELM names a helm, the chart's test compares the two.
 */
export function renderHelmSubset(template: string, values: object, around: Around): string {
  const tokens = tokenize(template)
  const [nodes, rest] = parse(tokens)
  if (rest.length > 0) throw new Error(`'${rest[0]}' has nothing that it ends`)
  return render(nodes, { ...around, Values: values }, undefined)
}

export interface Around {
  readonly Release: { readonly Namespace: string }
  readonly Capabilities: { readonly KubeVersion: { readonly Version: string } }
  /** The text of `/config.yaml`, rendered. */
  readonly include: (file: string) => string
}

type Root = Around & { readonly Values: object }

type Token = string | { readonly code: string }
type Node =
  | string
  | { readonly show: string }
  | {
      readonly word: 'if' | 'with' | 'range'
      readonly condition: string
      readonly body: readonly Node[]
      readonly otherwise: readonly Node[]
    }

/** `{{-` removes the white space before it, newlines too, and `-}}` the white space after it. */
function tokenize(template: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  for (const match of template.matchAll(/(\s*\{\{-|\{\{)\s*(.*?)\s*(-\}\}\s*|\}\})/gs)) {
    tokens.push(template.slice(at, match.index), { code: match[2] ?? '' })
    at = match.index + match[0].length
  }
  return [...tokens, template.slice(at)]
}

/** Parses up to the `end` or `else` of the enclosing block; also returns the tokens from there. */
function parse(tokens: readonly Token[]): [Node[], readonly Token[]] {
  const nodes: Node[] = []
  let rest = tokens
  while (rest.length > 0) {
    const [token, ...others] = rest
    if (token === undefined || typeof token === 'string') {
      if (token !== undefined) nodes.push(token)
      rest = others
      continue
    }
    if (token.code === 'end' || token.code === 'else') return [nodes, rest]
    const [, word, condition = ''] = /^(if|with|range) (.+)$/.exec(token.code) ?? []
    if (word === undefined) nodes.push({ show: token.code })
    if (word === undefined) rest = others
    else {
      const [block, after] = parseBlock(word as 'if', condition, others)
      nodes.push(block)
      rest = after
    }
  }
  return [nodes, rest]
}

function parseBlock(
  word: 'if' | 'with' | 'range',
  condition: string,
  tokens: readonly Token[],
): [Node, readonly Token[]] {
  const [body, then] = parse(tokens)
  const [otherwise, end] = isCode(then[0], 'else') ? parse(then.slice(1)) : [[], then]
  if (!isCode(end[0], 'end')) throw new Error(`{{ ${word} ${condition} }} has no end`)
  return [{ word, condition, body, otherwise }, end.slice(1)]
}

function isCode(token: Token | undefined, code: string): boolean {
  return typeof token === 'object' && token.code === code
}

function render(nodes: readonly Node[], root: Root, dot: unknown): string {
  return nodes
    .map(node => {
      if (typeof node === 'string') return node
      if ('show' in node) return show(node.show, root, dot)
      const value = evaluate(node.condition, root, dot)
      if (!isTrue(value)) return render(node.otherwise, root, dot)
      if (node.word === 'if') return render(node.body, root, dot)
      if (node.word === 'with') return render(node.body, root, value)
      return (value as unknown[]).map(one => render(node.body, root, one)).join('')
    })
    .join('')
}

function show(code: string, root: Root, dot: unknown): string {
  const [expression = '', pipe] = code.split(' | ')
  const yaml = /^toYaml (.+)$/.exec(expression)
  const indent = /^nindent (\d+)$/.exec(pipe ?? '')
  if (yaml !== null && indent !== null) {
    const lines = toYaml(evaluate(yaml[1] ?? '', root, dot), 0)
    return `\n${lines.map(line => ' '.repeat(Number(indent[1])) + line).join('\n')}`
  }
  if (yaml !== null || (pipe !== undefined && !/^(quote|sha256sum|default .*)$/.test(pipe)))
    throw new Error(`{{ ${code} }} is beyond the subset`)
  const included = /^include \(print \$\.Template\.BasePath "(\S+)"\) \.$/.exec(expression)
  if (included !== null && pipe === 'sha256sum')
    return createHash('sha256')
      .update(root.include(included[1] ?? ''))
      .digest('hex')
  const value = evaluate(expression, root, dot)
  const otherwise = /^default "([^"]*)"$/.exec(pipe ?? '')
  if (otherwise !== null) return String(isTrue(value) ? value : otherwise[1])
  return pipe === 'quote' ? JSON.stringify(String(value)) : String(value)
}

function evaluate(expression: string, root: Root, dot: unknown): unknown {
  const equal = /^eq (\S+) "([^"]*)"$/.exec(expression)
  if (equal !== null) return evaluate(equal[1] ?? '', root, dot) === equal[2]
  const not = /^not (\S+)$/.exec(expression)
  if (not !== null) return !isTrue(evaluate(not[1] ?? '', root, dot))
  const since = /^semverCompare ">=1\.(\d+)-0" (\S+)$/.exec(expression)
  if (since !== null) {
    const minor = /^v1\.(\d+)\./.exec(String(evaluate(since[2] ?? '', root, dot)))
    return Number(minor?.[1]) >= Number(since[1])
  }
  if (expression === '.') return dot
  if (!/^(\.\w+)+$/.test(expression)) throw new Error(`'${expression}' is beyond the subset`)
  return expression
    .slice(1)
    .split('.')
    .reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], root)
}

/** As in Go's text/template, zero, false, missing and empty values are false. */
function isTrue(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0
  return Boolean(value)
}

function toYaml(value: unknown, depth: number): string[] {
  const pad = '  '.repeat(depth)
  if (Array.isArray(value))
    return value.flatMap(item => {
      const [first = '', ...more] = toYaml(item, 0)
      return [`${pad}- ${first}`, ...more.map(line => `${pad}  ${line}`)]
    })
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).flatMap(([key, one]) =>
      typeof one === 'object'
        ? [`${pad}${key}:`, ...toYaml(one, depth + 1)]
        : [`${pad}${key}: ${JSON.stringify(one)}`],
    )
  return [`${pad}${JSON.stringify(value)}`]
}

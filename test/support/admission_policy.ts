import { Environment } from '@marcbachmann/cel-js'
import type { ApiObject } from '../manifests/yaml.ts'

/** The request as the API server presents it to a ValidatingAdmissionPolicy. */
export interface AdmissionRequest {
  readonly userInfo: { readonly username: string; readonly extra?: Readonly<Record<string, string[]>> }
  readonly oldObject: object | null
  readonly object: object
}

interface PolicySpec {
  readonly matchConditions: readonly { readonly expression: string }[]
  readonly variables?: readonly { readonly name: string; readonly expression: string }[]
  readonly validations: readonly {
    readonly expression: string
    readonly message?: string
    readonly messageExpression?: string
  }[]
}

/**
 * Why the policies deny a request, evaluated as the API server does: variables in order, then every
 * validation. An expression that cannot be evaluated denies, as with failurePolicy Fail. Empty: the request
 * is admitted.
 */
export function denials(policies: readonly ApiObject[], request: AdmissionRequest): readonly string[] {
  return policies.flatMap(policy => denialsOf(policy.spec as PolicySpec, request))
}

function denialsOf(spec: PolicySpec, { userInfo, object, oldObject }: AdmissionRequest): readonly string[] {
  const variables: Record<string, unknown> = {}
  const known = { request: { userInfo }, object, oldObject, variables }
  const evaluate = (expression: string) => cel.evaluate(expression, known)
  if (!spec.matchConditions.every(({ expression }) => evaluate(expression))) return []
  try {
    for (const { name, expression } of spec.variables ?? []) variables[name] = evaluate(expression)
    return spec.validations
      .filter(({ expression }) => evaluate(expression) !== true)
      .map(({ message, messageExpression }) => message ?? String(evaluate(messageExpression ?? '""')))
  } catch (error) {
    return [`cannot be evaluated: ${error instanceof Error ? error.message : error}`]
  }
}

const cel = new Environment({ unlistedVariablesAreDyn: true, enableOptionalTypes: true })

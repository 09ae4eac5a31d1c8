import { ExpectedError } from '../../common/errors.ts'
import { isRecord, textAt } from '../../json/path.ts'

/** A request to the API server in RBAC's terms. */
export interface ApiAction {
  readonly verb: 'get' | 'list' | 'watch' | 'patch' | 'create'
  /** `nodes`, `nodes/status`, `pods`, `events`. */
  readonly resource: string
}

/** The API server answered with a refusal. */
export class ApiError extends ExpectedError {
  override name = 'ApiError'
  /** HTTP status, or the code of a Status object in a watch event. */
  readonly status: number
  /** How long the server asked the client to wait; undefined where it did not say. */
  readonly retryAfterMs: number | undefined
  constructor(message: string, status: number, retryAfterMs?: number) {
    super(message)
    this.status = status
    this.retryAfterMs = retryAfterMs
  }
  /** The resourceVersion or continue token is too old: list again. */
  get gone(): boolean {
    return this.status === 410
  }
}

/** Whether the API server answered that the object does not exist. */
export function isMissing(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404
}

/** An answer that is no 2xx. */
export interface Answer {
  readonly status: number
  /** Usually a Status object in JSON. */
  readonly body: string
  /** The header, in seconds. */
  readonly retryAfter?: string | undefined
  /** For a 401: the credentials that the request carried, in words. */
  readonly sent?: string | undefined
}

export function refusal(action: ApiAction, where: string, answer: Answer): ApiError {
  const { status, body, retryAfter } = answer
  const text = statusMessage(body)
  const seconds = Number(retryAfter)
  const wait = retryAfter !== undefined && seconds >= 0 ? seconds * 1000 : undefined
  const act = `Cannot ${action.verb} ${action.resource} at ${where}`
  return new ApiError(
    `${act}: HTTP ${status}${text === '' ? '' : `, ${text}`}${remedy(action, answer)}`,
    status,
    wait,
  )
}

/** The error for a Status object in a watch event, after HTTP status 200. */
export function refusalEvent(action: ApiAction, where: string, object: unknown): ApiError {
  const code = isRecord(object) && typeof object.code === 'number' ? object.code : 500
  return refusal(action, where, {
    status: code,
    body: JSON.stringify({ message: textAt(object, 'message') }),
  })
}

/** The missing rule of the ClusterRole, as one line of YAML for `rules:`. */
function missingRule({ verb, resource }: ApiAction): string {
  return `- {apiGroups: [""], resources: ["${resource}"], verbs: ["${verb}"]}`
}

function remedy(action: ApiAction, { status, sent }: Answer): string {
  if (status === 403)
    return `; RBAC forbids it: add to the rules of this agent's ClusterRole: ${missingRule(action)}`
  return status === 401
    ? `; ${sent ?? 'the credentials are not accepted'}: they are read again at each try`
    : ''
}

function statusMessage(body: string): string {
  try {
    return textAt(JSON.parse(body), 'message')?.slice(0, 1_000) ?? ''
  } catch {
    return body.trim().slice(0, 200)
  }
}

/** flanneld's users write `http://host:2379/`; gRPC wants no path. */
export function normalEndpoint(endpoint: string): string {
  return endpoint.trim().replace(/\/+$/, '')
}

import type { ServiceSpec } from "../../../src/service/service.ts";

export const agentSpec = (more: Partial<ServiceSpec> = {}): ServiceSpec => ({
  service: "agent",
  scope: "system",
  program: "/usr/local/bin/openbox",
  flags: ["--server=https://box.example.com"],
  home: "/var/lib/openbox-agent",
  ...more,
});

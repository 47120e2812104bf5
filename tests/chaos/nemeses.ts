/** What breaks in a round. Each breaks one thing for a while, at once or at a chosen instant, and makes it whole again. */
import { systemClock } from "../../src/clock.ts";
import type { Component } from "../fixtures/component.ts";
import type { TcpProxy } from "../fixtures/tcp_proxy.ts";
import type { Service } from "./service.ts";
import type { ChaosOptions, ChaosWorld } from "./world.ts";

export interface Nemesis {
  /** As it is asked for, with the cases of docs/security.md that it tries. */
  readonly name: string;
  readonly cases: string;
  readonly options?: ChaosOptions;
  /** What it needs of the machine. */
  readonly needs?: readonly Component[];
  strike(world: ChaosWorld): Promise<void>;
}

const between = (low: number, high: number) => low + (high - low) * Math.random();
const wait = (low: number, high: number) => systemClock.sleep(between(low, high));

async function killAndStart(...services: readonly Service[]): Promise<void> {
  await Promise.all(services.map((service) => service.kill()));
  await wait(0, 300);
  for (const service of services) service.start();
}

async function stopAndContinue(service: Service): Promise<void> {
  service.signal("SIGSTOP");
  await wait(200, 1200);
  service.signal("SIGCONT");
}

/** Of a world with a Postgres of its own. */
const database = ({ postgres }: ChaosWorld) => postgres!;

async function partition(...proxies: readonly TcpProxy[]): Promise<void> {
  const way = Math.random();
  if (way < 0.5) { for (const proxy of proxies) proxy.mode = "blackhole"; }
  if (way > 0.3) { for (const proxy of proxies) proxy.cut(); }
  await wait(200, 1200);
  if (way > 0.8) { for (const proxy of proxies) proxy.cut(); }
  for (const proxy of proxies) proxy.mode = "pass";
}

/** A second on, a second off, is what a loose plug does. */
async function flap(...proxies: readonly TcpProxy[]): Promise<void> {
  for (let i = 0; i < 4; i++) {
    for (const proxy of proxies) proxy.cut();
    await wait(20, 250);
  }
}

async function fillDisk(home: string): Promise<void> {
  const path = `${home}/filler`, chunk = new Uint8Array(1024 * 1024);
  try {
    using file = await Deno.open(path, { write: true, create: true });
    try {
      for (let size = chunk.length; size >= 1;) {
        try {
          await file.write(chunk.subarray(0, size));
        } catch {
          size = Math.floor(size / 2);
        }
      }
    } catch {
      // no room for anything
    }
    await wait(300, 1000);
  } finally {
    await Deno.remove(path);
  }
}

export const NEMESES: readonly Nemesis[] = [
  {
    name: "kill-control",
    cases: "KIL-5, STO-1",
    strike: ({ controls }) => killAndStart(controls[0]!.service),
  },
  {
    name: "kill-agent",
    cases: "KIL-3",
    strike: ({ agents }) => killAndStart(agents[0]!.service),
  },
  {
    name: "kill-both",
    cases: "KIL-8",
    strike: ({ agents, controls }) => killAndStart(agents[0]!.service, controls[0]!.service),
  },
  {
    name: "kill-one-of-two",
    cases: "STO-15, KIL-5",
    options: { postgres: true, controls: 2 },
    needs: ["postgres"],
    strike: ({ controls }) => killAndStart(controls[Math.random() < 0.5 ? 0 : 1]!.service),
  },
  {
    name: "kill-postgres",
    cases: "KIL-6, STO-9",
    options: { postgres: true, controls: 2 },
    needs: ["postgres"],
    async strike(world) {
      const { server } = database(world);
      await server.kill();
      await wait(0, 1000);
      await server.start();
    },
  },
  {
    name: "restart-postgres",
    cases: "STO-9",
    options: { postgres: true, controls: 2 },
    needs: ["postgres"],
    async strike(world) {
      const { server } = database(world);
      await server.stop();
      await server.start();
    },
  },
  {
    name: "stop-postgres",
    cases: "STO-11",
    options: { postgres: true, controls: 2 },
    needs: ["postgres"],
    async strike(world) {
      const { server } = database(world);
      server.signal("SIGSTOP");
      await wait(500, 4000);
      server.signal("SIGCONT");
    },
  },
  {
    name: "close-postgres",
    cases: "STO-10",
    options: { postgres: true, controls: 2 },
    needs: ["postgres"],
    async strike(world) {
      const { proxy } = database(world);
      proxy.mode = "close";
      proxy.cut();
      await wait(500, 2000);
      proxy.mode = "pass";
    },
  },
  {
    name: "cut-postgres",
    cases: "NET-5",
    options: { postgres: true, controls: 2 },
    needs: ["postgres"],
    strike: (world) => partition(database(world).proxy),
  },
  {
    name: "stop-control",
    cases: "NET-1",
    strike: ({ controls }) => stopAndContinue(controls[0]!.service),
  },
  {
    name: "stop-agent",
    cases: "CLK-5",
    strike: ({ agents }) => stopAndContinue(agents[0]!.service),
  },
  {
    name: "cut-agent",
    cases: "NET-2, NET-6",
    strike: ({ agents }) =>
      Math.random() < 0.5 ? partition(agents[0]!.forClients) : flap(agents[0]!.forClients),
  },
  {
    name: "cut-control",
    cases: "NET-1, NET-6",
    strike: ({ controls: [control] }) => partition(control!.forClients, control!.forAgents),
  },
  {
    name: "full-control",
    cases: "STO-2",
    options: { smallDisks: true },
    needs: ["linux-root"],
    strike: ({ controlHome }) => fillDisk(controlHome),
  },
  {
    name: "full-agent",
    cases: "RES-2",
    options: { smallDisks: true },
    needs: ["linux-root"],
    strike: ({ agentHome }) => fillDisk(agentHome),
  },
  {
    name: "clock-control",
    cases: "CLK-1, CLK-2",
    options: { clock: true },
    needs: ["libfaketime"],
    async strike(world) {
      await world.moveClock(Math.round(between(-3600, 3600)));
      await wait(300, 1000);
      await world.moveClock(0);
    },
  },
];

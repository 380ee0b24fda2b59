"""Parameters of the executor `ray`."""

from __future__ import annotations

from pydantic import Field

from benchbench.components import Params


class RayParams(Params):
    """Demand of each worker. All of it must fit on one node."""

    address: str = Field("auto", description="of the cluster, as in 10.0.0.1:6379; auto: RAY_ADDRESS, or the one here")
    gpus: float = Field(0.0, ge=0, le=64, description="GPUs of a worker; 0.5: two workers share one; 0: CPU alone")
    cpus: int = Field(1, ge=1, description="CPU cores of a worker")
    memory_gb: float | None = Field(None, gt=0, description="memory of a worker, in GB, as Ray counts it")
    resources: dict[str, float] = Field({}, description="custom resources of a worker, as in {a100: 1}")
    jobs: int | None = Field(None, ge=1, le=10_000, description="most workers at once; default: all that fit")
    device_name: str | None = Field(
        None, description="model of the device; default: what the last worker had, which the first plan cannot know"
    )

    @property
    def demand(self) -> tuple[object, ...]:
        """The part of the demand that decides which devices a worker gets."""
        return ("ray", self.address, self.gpus, self.cpus, tuple(sorted(self.resources.items())))

    def amounts(self) -> dict[str, float]:
        """The demand by Ray's names of resources."""
        memory = {} if self.memory_gb is None else {"memory": self.memory_gb * 1e9}
        named = {"CPU": float(self.cpus), "GPU": self.gpus, **memory, **self.resources}
        return {name: amount for name, amount in named.items() if amount}

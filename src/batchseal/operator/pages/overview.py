"""The first page: whether everything is well, and what needs a look."""

from batchseal.operator.alarm_texts import Shown, shown_alarms
from batchseal.operator.pages.parts import Parts
from batchseal.operator.request import Reply, Request
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes
from batchseal.store.operator_alarms import alarms_of


class OverviewPages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/", Right.VIEW, self.show)

    async def show(self, request: Request) -> Reply:
        store, worker = self._parts.store, self._parts.worker
        figures, instances = await store.overview(), await store.instances()
        readiness, credentials = await worker.ready(), await store.credentials()
        texts = self._parts.renderer.texts(request)
        alarms = shown_alarms(alarms_of(figures, credentials, instances), texts)
        for name, state in readiness.items():
            is_warning, said = state.startswith("warning: "), state.removeprefix("warning: ")
            if state != "ok":
                shown = Shown("warning" if is_warning else "critical", f"{texts(name)}: {said}")
                alarms.insert(len(alarms) if is_warning else 0, shown)
        return self._parts.renderer.page(
            request,
            "overview.html",
            figures=figures,
            instances=[one for one in instances if one.is_alive or not one.left_at],
            readiness=readiness,
            credentials=credentials,
            budgets=worker.budgets(),
            alarms=alarms,
        )

"""Which user IDs sandboxes of bubblewrap have on this host, and where their files are worked on."""

from __future__ import annotations

import threading
from pathlib import Path

from .file_work import HERE, FileWork, NamespaceWork
from .id_range import IdRange
from .subordinate_ids import NoRange, find_range
from .tree_walk import remove_tree
from .users import can_have_ranges

__all__ = ["UserIds", "remove_any_tree"]


class UserIds:
    """What this process can give its sandboxes; known once it is open.

    Attributes:
        kind: How sandboxes come to their IDs, in words.
        missing: What is missing for a range of IDs; empty where nothing is.
        of_images: What users and groups of an image are for `work`; None where a sandbox has one ID.
        mark: Tells ranges apart, of which none can do with the files of another.
        work: Where files of sandboxes and images are worked on.
    """

    def __init__(self) -> None:
        self.kind = "one ID"
        self.missing = ""
        self.of_images: IdRange | None = None
        self.mark = ""
        self.work: FileWork = HERE
        self._namespace: NamespaceWork | None = None
        self._opening = threading.Lock()
        self._is_open = False

    @property
    def namespace(self) -> int | None:
        """Descriptor of the user namespace that has the range; None where this process has it."""
        return None if self._namespace is None else self._namespace.namespace

    def open(self) -> None:
        """Find out. Idempotent."""
        with self._opening:
            if self._is_open:
                return
            self._is_open = True
            if can_have_ranges():
                self.kind, self.of_images, self.mark = "range of IDs (root)", IdRange(0), "ids"
                return
            try:
                id_map = find_range()
                self._namespace = self.work = NamespaceWork(id_map)
            except NoRange as error:
                self.missing = str(error)
                return
            self.kind, self.of_images = "range of IDs (newuidmap)", id_map.ids
            self.mark = f"ids-{id_map.first_user}-{id_map.first_group}-{id_map.count}"

    def close(self) -> None:
        """Give up what is being worked on. Idempotent."""
        if self._namespace is not None:
            self._namespace.close()


def remove_any_tree(directory: Path) -> None:
    """Do what `remove_tree` does, also where files belong to a range of IDs of this user's."""
    try:
        remove_tree(directory)
    except PermissionError:
        ids = UserIds()
        ids.open()
        try:
            ids.work.run(remove_tree, directory)
        finally:
            ids.close()

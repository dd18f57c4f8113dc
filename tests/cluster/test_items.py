"""What an entry of `cluster` looks at."""

import pyarrow as pa

from engine.cluster.items import items
from engine.spec import Cluster
from engine.step import Ref
from engine.tables import CHAT
from fakes import FakeContext, spec_of


def test_a_system_message_that_all_prompts_share_is_not_looked_at(tmp_path):
    chats = [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}] for text in ("two", "one")]
    rows = pa.table({"prompt_id": ["b", "a"], "messages": pa.array(chats, CHAT)})
    ctx = FakeContext(spec_of(), tmp_path, tables={Ref("prompts", "train"): rows})
    found = items(ctx, Cluster(k=2))
    assert (found.ids, found.texts) == (["a", "b"], ["one", "two"])

"""what a shop that grows needs: lanes, queues, totals, indexes, and rounds that others join

Revision: 0007, after 0006
"""

from alembic import op
import sqlalchemy as sa

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

ID = sa.String(length=80)
TIME = sa.DateTime(timezone=True)
PLAIN = (  # (table, columns)
    ('samples', ('created_at',)), ('answers', ('created_at',)), ('reports', ('artifact_sha256',)),
    ('erasures', ('updated_at',)), ('erasures', ('state',)), ('rounds', ('state',)),
    ('adapters', ('weights_sha256',)), ('adapters', ('config_sha256',)),
    *((table, ('created_at',)) for table in (
        'quarantine', 'topic_models', 'releases', 'datasets', 'runs', 'adapters', 'evaluations', 'reports',
        'drift_checks', 'triggers', 'rounds', 'erasures', 'import_batches',
    )),
)
PARTIAL = (  # (name, table, column, condition)
    ('ix_arrivals_free', 'arrivals', 'seq', 'batch_id IS NULL'),
    ('ix_turns_replies', 'turns', 'seq', "role = 'assistant' AND inference_id IS NOT NULL"),
    ('ix_samples_unpushed', 'samples', 'created_at', 'task_id IS NULL'),
    ('ix_reports_shown', 'reports', 'created_at', 'erased_at IS NULL'),
    ('ix_adapter_marks_kept', 'adapter_marks', 'created_at', 'deleted_at IS NULL'),
)
TOTALS = (  # (name, as a select of value)
    "select 'turns', count(*) from turns",
    "select 'conversations', count(*) from admitted_conversations",
    "select 'removed:' || type, sum(count) from pii_counts group by type",
    "select 'replies:' || i.adapter, count(*) from turns t join inferences i on i.id = t.inference_id group by i.adapter",
    "select 'embedded', count(*) from turns t join turn_features f on f.turn_id = t.id"
    " where t.role = 'user' and f.embedding is not null",
    "select 'samples', count(*) from samples",
    "select 'tasks', count(*) from samples where task_id is not null",
    "select 'annotations', count(*) from annotations",
    "select 'labels:' || verdict, count(*) from labels group by verdict",
    *(f"select '{name}:' || f.metric, {value} from feedback f where not exists (select 1 from feedback g"
      " where g.inference_id = f.inference_id and g.metric = f.metric"
      " and (g.created_at > f.created_at or g.created_at = f.created_at and g.id > f.id)) group by f.metric"
      for name, value in (('votes', 'count(*)'), ('sum of votes', 'sum(f.value)'))),
)  # fmt: skip


def upgrade() -> None:
    _tables()
    for table, columns in PLAIN:
        op.create_index(op.f(f'ix_{table}_{columns[0]}'), table, list(columns))
    for name, table, column, condition in PARTIAL:
        where = sa.text(condition)
        op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)
    # a conversation is a customer's with an alias unless its first inference was asked for by an exact version
    op.execute(
        "insert into admitted_conversations (conversation_id, traffic, admitted_at)"
        " select t.conversation_id, coalesce((select case when i.variant = 'exact' then 'exact'"
        " else 'alias ' || i.alias end from inferences i where i.conversation_id = t.conversation_id"
        " order by i.created_at, i.id limit 1), 'import'), min(t.admitted_at) from turns t group by t.conversation_id"
    )
    op.execute(
        "insert into feature_queue (turn_id, seq) select t.id, t.seq from turns t where t.text is not null"
        " and not exists (select 1 from turn_features f where f.turn_id = t.id and f.version = 'turn-2')"
    )
    op.execute("insert into cursors (name, position) values ('features turn-2', 2147483647)")  # they are queued above
    op.execute(  # labels that a dataset was made of ask for no round
        "insert into cursors (name, position) select 'labels when frozen', count(*) from labels"
        " where exists (select 1 from datasets)"
    )
    for total in TOTALS:
        op.execute(
            "insert into counters (day, name, shard, value)"
            f" select '', s.name, 0, s.value from (select '' as name, 0 as value where 1 = 0 union all {total}) s"
            " where s.value <> 0"
        )
    # topics keep the numbers of the newest model; those of older models meant something else
    newest = "select id from topic_models order by created_at desc limit 1"
    op.execute(f"delete from turn_topics where model_id not in ({newest})")
    op.drop_index(op.f('ix_turn_topics_model_id'), 'turn_topics')
    op.drop_column('turn_topics', 'model_id')
    op.add_column('topic_models', sa.Column('names', sa.JSON(), nullable=True))
    models, most = sa.table('topic_models', sa.column('id'), sa.column('topics'), sa.column('names', sa.JSON())), 0
    for row in op.get_bind().execute(sa.select(models.c.id, models.c.topics)).all():
        most = max(most, row.topics)
        op.execute(sa.update(models).where(models.c.id == row.id).values(names=list(range(row.topics))))
    op.execute(f"insert into cursors (name, position) values ('topic names', {most})")
    with op.batch_alter_table('topic_models') as changed:
        changed.alter_column('names', existing_type=sa.JSON(), nullable=False)
    with op.batch_alter_table('triggers') as changed:  # several may join one round
        changed.drop_constraint(op.f('uq_triggers_round_id'), type_='unique')
    op.create_index(op.f('ix_triggers_round_id'), 'triggers', ['round_id'])
    op.add_column('rounds', sa.Column('learn_now', sa.Integer(), nullable=False, server_default='0'))
    op.add_column('drift_checks', sa.Column('against', sa.String(length=120), nullable=False, server_default=''))
    op.add_column('drift_checks', sa.Column('asked', sa.Integer(), nullable=False, server_default='1'))
    op.add_column('drift_checks', sa.Column('end_at', TIME, nullable=True))
    op.add_column('drift_checks', sa.Column('end_id', ID, nullable=True))
    op.create_index(op.f('ix_drift_checks_end_id'), 'drift_checks', ['end_id'])
    op.drop_column('drift_checks', 'current_until')
    for table, column in (('rounds', 'learn_now'), ('drift_checks', 'against'), ('drift_checks', 'asked')):
        with op.batch_alter_table(table) as changed:
            changed.alter_column(column, server_default=None)


def _tables() -> None:
    op.create_table(
        'workers',
        sa.Column('id', ID, nullable=False),
        sa.Column('beat_at', TIME, nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_workers')),
    )
    op.create_table(
        'leases',
        sa.Column('name', sa.String(length=32), nullable=False),
        sa.Column('holder', ID, nullable=False),
        sa.PrimaryKeyConstraint('name', name=op.f('pk_leases')),
    )
    op.create_table(
        'counters',
        sa.Column('day', sa.String(length=10), nullable=False),
        sa.Column('name', sa.String(length=120), nullable=False),
        sa.Column('shard', sa.Integer(), nullable=False),
        sa.Column('value', sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint('day', 'name', 'shard', name=op.f('pk_counters')),
    )
    op.create_table(
        'cursors',
        sa.Column('name', sa.String(length=80), nullable=False),
        sa.Column('position', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('name', name=op.f('pk_cursors')),
    )
    op.create_table(
        'admitted_conversations',
        sa.Column('conversation_id', ID, nullable=False),
        sa.Column('traffic', sa.String(length=80), nullable=False),
        sa.Column('admitted_at', TIME, nullable=False),
        sa.PrimaryKeyConstraint('conversation_id', name=op.f('pk_admitted_conversations')),
    )
    op.create_index(
        'ix_admitted_conversations_place', 'admitted_conversations', ['traffic', 'admitted_at', 'conversation_id']
    )
    op.create_table(
        'feature_queue',
        sa.Column('turn_id', ID, nullable=False),
        sa.Column('seq', sa.Integer(), nullable=False),
        sa.Column('claimed_until', TIME, nullable=True),
        sa.PrimaryKeyConstraint('turn_id', name=op.f('pk_feature_queue')),
    )
    op.create_index(op.f('ix_feature_queue_seq'), 'feature_queue', ['seq'])


def downgrade() -> None:
    op.drop_index(op.f('ix_triggers_round_id'), 'triggers')
    with op.batch_alter_table('triggers') as changed:
        changed.create_unique_constraint(op.f('uq_triggers_round_id'), ['round_id'])
    op.add_column('drift_checks', sa.Column('current_until', sa.Integer(), nullable=False, server_default='0'))
    op.drop_index(op.f('ix_drift_checks_end_id'), 'drift_checks')
    for column in ('end_id', 'end_at', 'asked', 'against'):
        op.drop_column('drift_checks', column)
    op.drop_column('rounds', 'learn_now')
    op.drop_column('topic_models', 'names')
    op.add_column('turn_topics', sa.Column('model_id', ID, nullable=False, server_default=''))
    op.create_index(op.f('ix_turn_topics_model_id'), 'turn_topics', ['model_id'])
    for name, table, *_ in PARTIAL[::-1]:
        op.drop_index(name, table)
    for table, columns in PLAIN[::-1]:
        op.drop_index(op.f(f'ix_{table}_{columns[0]}'), table)
    for table in ('feature_queue', 'admitted_conversations', 'cursors', 'counters', 'leases', 'workers'):
        op.drop_table(table)

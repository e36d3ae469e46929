"""owners of conversations and keys; the customer of each turn

Revision: 0005, after 0004
"""

from alembic import op
import sqlalchemy as sa

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

OF_CONVERSATION = "update {} set customer = (select c.customer from conversations c where c.id = {}.conversation_id)"


def upgrade() -> None:
    # each key is an owner of its own, so nothing changes for it
    op.add_column('api_keys', sa.Column('owner', sa.String(length=80), nullable=True))
    op.execute("update api_keys set owner = id")
    with op.batch_alter_table('api_keys') as keys:  # SQLite changes no column in place
        keys.alter_column('owner', existing_type=sa.String(length=80), nullable=False)
    # what a key opened is its owner's; of the chat page's visitors each is an owner
    op.alter_column('conversations', 'key_id', new_column_name='owner')
    op.execute("update conversations set owner = 'web:' || customer where owner = 'web' and customer is not null")
    op.add_column('conversations', sa.Column('public_hash', sa.String(length=80), nullable=True))
    op.execute("update conversations set public_hash = id")
    op.create_index(op.f('ix_conversations_public_hash'), 'conversations', ['public_hash'])
    for table in ('arrivals', 'turns', 'quarantine'):
        op.add_column(table, sa.Column('customer', sa.String(length=80), nullable=True))
        op.execute(OF_CONVERSATION.format(table, table))
        op.create_index(op.f(f'ix_{table}_customer'), table, ['customer'])


def downgrade() -> None:
    for table in ('quarantine', 'turns', 'arrivals'):
        op.drop_index(op.f(f'ix_{table}_customer'), table)
        op.drop_column(table, 'customer')
    op.drop_index(op.f('ix_conversations_public_hash'), 'conversations')
    op.drop_column('conversations', 'public_hash')
    op.execute("update conversations set owner = 'web' where owner like 'web:%'")
    op.alter_column('conversations', 'owner', new_column_name='key_id')
    op.drop_column('api_keys', 'owner')

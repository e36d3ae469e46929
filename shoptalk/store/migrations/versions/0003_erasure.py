"""erasures

Revision: 0003, after 0002
"""

from alembic import op
import sqlalchemy as sa
from shoptalk.store.columns import Time

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('answers', sa.Column('conversation_id', sa.String(length=80), nullable=True))
    op.create_index(op.f('ix_answers_conversation_id'), 'answers', ['conversation_id'])
    op.add_column('datasets', sa.Column('replaced_by', sa.String(length=80), nullable=True))
    op.add_column('datasets', sa.Column('erasure_id', sa.String(length=80), nullable=True))
    op.add_column('reports', sa.Column('erased_at', Time(timezone=True), nullable=True))
    op.create_table(
        'erasures',
        sa.Column('id', sa.String(length=80), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('policy', sa.String(length=16), nullable=False),
        sa.Column('customer', sa.String(length=80), nullable=True),
        sa.Column('conversations', sa.JSON(), nullable=True),
        sa.Column('inferences', sa.JSON(), nullable=True),
        sa.Column('since', Time(timezone=True), nullable=True),
        sa.Column('problem', sa.Text(), nullable=True),
        sa.Column('receipt', sa.JSON(), nullable=True),
        sa.Column('created_at', Time(timezone=True), nullable=False),
        sa.Column('updated_at', Time(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_erasures')),
    )
    op.create_index(op.f('ix_erasures_customer'), 'erasures', ['customer'])
    op.create_table(
        'erasure_steps',
        sa.Column('erasure_id', sa.String(length=80), nullable=False),
        sa.Column('step', sa.String(length=32), nullable=False),
        sa.Column('counts', sa.JSON(), nullable=False),
        sa.Column('created_at', Time(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('erasure_id', 'step', name=op.f('pk_erasure_steps')),
    )
    op.create_table(
        'tombstones',
        sa.Column('id', sa.String(length=80), nullable=False),
        sa.Column('erasure_id', sa.String(length=80), nullable=False),
        sa.Column('created_at', Time(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_tombstones')),
    )
    op.create_table(
        'adapter_marks',
        sa.Column('name', sa.String(length=64), nullable=False),
        sa.Column('version', sa.Integer(), autoincrement=False, nullable=False),
        sa.Column('erasure_id', sa.String(length=80), nullable=False),
        sa.Column('policy', sa.String(length=16), nullable=False),
        sa.Column('created_at', Time(timezone=True), nullable=False),
        sa.Column('withdrawn_at', Time(timezone=True), nullable=True),
        sa.Column('deleted_at', Time(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint('name', 'version', name=op.f('pk_adapter_marks')),
    )


def downgrade() -> None:
    for table in ('adapter_marks', 'tombstones', 'erasure_steps'):
        op.drop_table(table)
    op.drop_index(op.f('ix_erasures_customer'), 'erasures')
    op.drop_table('erasures')
    op.drop_column('reports', 'erased_at')
    op.drop_column('datasets', 'erasure_id')
    op.drop_column('datasets', 'replaced_by')
    op.drop_index(op.f('ix_answers_conversation_id'), 'answers')
    op.drop_column('answers', 'conversation_id')
